"""What becomes of the parameters of the three APIs that a body has no field for.

One rule: what the large model's API may be given of the caller's own body passes (tandem.openai.allowed). A **hint**
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


def _hints(names: str) -> Table:
    return dict.fromkeys(names.split(), HINT)


def _hint(*nothing: Any) -> Parameter:
    return Parameter(nothing=nothing)


def _refused(about: str, *nothing: Any) -> Parameter:
    return Parameter(is_refused=True, about=about, nothing=nothing)


_EFFORT = Parameter(is_told=True)
_STATELESS = _refused("this process keeps no state: send the whole conversation")
_TEXT_ONLY = _refused("the models here read text alone")
_LOGPROBS = "two models write the answer"
_SHAPE = _refused("use `response_format`")
_NEW_TEXT = _refused("there is one answer, which is new text")
_IN_BACKGROUND = "use the gRPC API, or `tandem.keep_running`"

_BOTH: Table = {
    **_hints("prompt_cache_key prompt_cache_options prompt_cache_retention safety_identifier"),
    "service_tier": _hint("auto", "default"),
    "store": _hint(False),
    "moderation": _refused("moderate before or after the request"),
}
"""Of chat completions and responses."""

CHAT: Table = {
    **_BOTH,
    **_hints("verbosity prediction web_search_options chat_template_kwargs"),
    "presence_penalty": _hint(0),
    "frequency_penalty": _hint(0),
    "reasoning_effort": _EFFORT,
    "n": _refused("send one request for each answer", 1),
    "logprobs": _refused(_LOGPROBS, False),
    "top_logprobs": _refused(_LOGPROBS, 0),
    "logit_bias": _refused("not every engine has it", {}),
    "functions": _refused("use `tools`", []),
    "function_call": _refused("use `tool_choice`", "none", "auto"),
    "messages[].function_call": _refused("use `tool_calls`"),
    "modalities": _refused(_TEXT_ONLY.about, ["text"]),
    "audio": _TEXT_ONLY,
    "messages[].audio": _TEXT_ONLY,
    "messages[].content[type=*]": _TEXT_ONLY,
    "guided_json": _SHAPE,
    "guided_regex": _SHAPE,
    "guided_choice": _SHAPE,
    "guided_grammar": _SHAPE,
    "structured_outputs": _SHAPE,
    "grammar": _SHAPE,
    "json_schema": _SHAPE,
    "stop_sequences": _refused("use `stop`", []),
    "best_of": _NEW_TEXT,
    "echo": _NEW_TEXT,
    "suffix": _NEW_TEXT,
}

RESPONSES: Table = {
    **_BOTH,
    **_hints("max_tool_calls access_programs stream_options context_management client_metadata input[type=reasoning]"),
    "include": _hint([]),
    "truncation": _hint("disabled"),
    "reasoning.effort": _EFFORT,
    "input[].content[].annotations": _hint([]),
    "input[].content[].logprobs": _hint([]),
    "previous_response_id": _STATELESS,
    "conversation": _STATELESS,
    "input[type=item_reference]": _STATELESS,
    "background": _refused(_IN_BACKGROUND, False),
    "background_options": _refused(_IN_BACKGROUND),
    "prompt": _refused("there are no stored prompts: use `instructions`"),
    "image": _TEXT_ONLY,
    "input[].content[type=*]": _TEXT_ONLY,
    "input[].output[type=*]": _TEXT_ONLY,
    "input[type=*]": _refused("only calls of functions, and their results, are read here"),
    "top_logprobs": _refused(_LOGPROBS, 0),
    "stop": _refused("use chat completions: answers of this API end by themselves", []),
    "max_tokens": _refused("use `max_output_tokens`"),
}

MESSAGES: Table = {
    **_hints("top_k context_management compaction diagnostics billing_policy fallback_credit_token user_profile_id"),
    **_hints("workspace_id cache_control"),
    **_hints("messages[].content[type=thinking] messages[].content[type=redacted_thinking]"),
    "messages[].content[].citations": _hint([]),
    "thinking": _hint({"type": "disabled"}),
    "output_config.effort": _EFFORT,
    "service_tier": _hint("auto", "standard_only"),
    "speed": _hint("standard"),
    "mcp_servers": _hint([]),
    "fallbacks": _hint([]),
    "betas": _hint([]),
    "container": _refused("nothing is run here"),
    "inference_geo": _refused("there is one place"),
    "thread": _STATELESS,
    "stop": _refused("use `stop_sequences`", []),
    "messages[].content[type=*]": _TEXT_ONLY,
    "messages[].content[].content[type=*]": _TEXT_ONLY,
}
