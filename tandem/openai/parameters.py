"""What becomes of the parameters of the three APIs that a body has no field for; each protocol's file has its table.

One rule: what the large model's API may be given of the caller's own body passes (tandem.openai.allow_list). A **hint**
asks for the same answer otherwise: faster, cheaper, longer, filed under a name. Nobody here follows it, so it is
dropped and named. What would change what the answer means is **refused**. A parameter that is in no table is a hint
until its meaning says otherwise; the tables name each one of the vendors' own clients. docs/openai-parameters.md shows
what is refused (`make tables`); the readers of bodies (tandem.openai.body) act by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class RefusedParameter(Exception):
    """A parameter that cannot be honoured; `param` names it as OpenAI's errors do."""

    def __init__(self, param: str, message: str, code: str = "unsupported_parameter") -> None:
        super().__init__(message)
        self.param, self.code = param, code


@dataclass(frozen=True, slots=True)
class Parameter:
    """A hint, or `is_refused`. `about`: what a caller does instead of what is refused, or why it is refused. `nothing`:
    values that ask for nothing, as null does. `is_told`: an API of another protocol is told the same in its own words.
    Its name is a path: `[]` is each item of a list, `[type=x]` one of that type, `[type=*]` of any other.
    """

    is_refused: bool = False
    about: str = ""
    nothing: tuple[Any, ...] = ()
    is_told: bool = False

    def asks_nothing(self, value: Any) -> bool:
        return any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in self.nothing)


Table = Mapping[str, Parameter]
HINT = Parameter()


def hints(names: str) -> Table:
    return dict.fromkeys(names.split(), HINT)


def hint(*nothing: Any) -> Parameter:
    return Parameter(nothing=nothing)


def refused(about: str, *nothing: Any) -> Parameter:
    return Parameter(is_refused=True, about=about, nothing=nothing)


EFFORT = Parameter(is_told=True)
STATELESS = refused("this process keeps no state: send the whole conversation")
TEXT_ONLY = refused("the models here read text alone")
LOGPROBS = "two models write the answer"

OF_OPENAI: Table = {
    **hints("prompt_cache_key prompt_cache_options prompt_cache_retention safety_identifier"),
    "service_tier": hint("auto", "default"),
    "store": hint(False),
    "moderation": refused("moderate before or after the request"),
}
"""Of chat completions and responses."""
