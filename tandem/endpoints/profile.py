"""A profile from endpoints: small tries first where its answer can be checked, then others in order; else the large
one answers.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from functools import cached_property
from math import inf
from pathlib import Path
from typing import Any

from tandem.endpoints.address import Address, AddressError
from tandem.endpoints.price_list import price_list
from tandem.endpoints.probe import Found
from tandem.gguf_metadata import read_metadata
from tandem.method.errors import InvalidArgument
from tandem.method.profile.prices import RolePrices
from tandem.method.profile.profile import profile_of
from tandem.method.roles import LLM, MODEL_ROLES, SLM, SMALL_ROLES

_CONTEXT = 16384  # where nobody says
_LOCAL_QUESTION, _LOCAL_ANSWER = 32768, 2048  # more takes a model that runs here minutes
_OTHERS = 4096  # of a context, besides a question and its answer: prompts, a trial before it, what a check said
_NOT_WRITTEN = {"can", "limits", "passes", "fees"}  # `can` has a table of its own; the others the operator says
_MOST_PARAMETERS = 10**15
_PARAMETERS = re.compile(r"(\d+(?:\.\d+)?)b\b")


@dataclass(frozen=True)
class Role:
    """`found` is None for a model that runs here. `prices` are the user's own, in place of the vendor's."""

    address: Address
    found: Found | None = None
    prices: RolePrices | None = None

    @cached_property
    def context_length(self) -> int:
        """Return the context length by the GGUF file, the endpoint, or the price list. Raises AddressError for a file
        that cannot be read.
        """
        if self.address.file is not None:
            return _context_of(self.address.file)
        listed = self.address.price
        known = (self.found and self.found.context_length) or (listed and listed.max_input_tokens)
        return known or _CONTEXT

    @property
    def output_tokens(self) -> int:
        """The most of an answer: what the endpoint or the price list says, and a quarter of the context, which leaves
        room for questions.
        """
        room = self.context_length // 4
        if self.address.api is None:
            return min(_LOCAL_ANSWER, room)
        listed = self.address.price
        known = (self.found and self.found.output_tokens) or (listed and listed.max_output_tokens)
        return min(known or room, room)

    @property
    def question_tokens(self) -> int:
        """The most of a question or a conversation."""
        length = self.context_length - self.output_tokens - min(_OTHERS, self.output_tokens)
        return max(64, length if self.address.api else min(_LOCAL_QUESTION, length))

    @property
    def price(self) -> tuple[RolePrices | None, str]:
        """The prices, and where they are from; None: nobody knows them."""
        if self.prices is not None:
            return self.prices, "given"
        if self.found and self.found.usd:
            return self.found.usd, "the endpoint's own list"
        if listed := self.address.price:
            cached = listed.input if listed.cached_input is None else listed.cached_input
            writes = (listed.cache_write, listed.cache_write_hour)
            return RolePrices(listed.input, cached, listed.output, True, *writes), price_list().version
        return None, "unknown"

    @property
    def parameters(self) -> float:
        """Return the number of parameters from what the endpoint says or the name; 0: not known."""
        meta = self.found.told.get("meta") if self.found else None
        told = meta.get("n_params") if isinstance(meta, dict) else None
        if isinstance(told, int) and 0 < told < _MOST_PARAMETERS:
            return float(told)
        named = _PARAMETERS.search(self.address.name)
        return float(named[1]) * 1e9 if named else 0.0


def _context_of(file: Path) -> int:
    try:
        said = read_metadata(file)
    except OSError as error:
        raise AddressError(str(error)) from error
    length: int = said.get(f"{said.get('general.architecture')}.context_length", _CONTEXT)
    return length


def parse_prices(text: str) -> RolePrices:
    """`INPUT/OUTPUT`, `INPUT/CACHED/OUTPUT` or, with a price of cache writes, `INPUT/CACHED/WRITE/OUTPUT`, USD per
    million tokens. Raises AddressError.
    """
    try:
        amounts = [float(part) for part in text.split("/")]
    except ValueError:
        amounts = []
    if len(amounts) not in (2, 3, 4) or not all(0 <= amount < inf for amount in amounts):
        raise AddressError(
            f"{text!r} is no price: give INPUT/OUTPUT, INPUT/CACHED/OUTPUT or INPUT/CACHED/WRITE/OUTPUT, in USD per "
            "million tokens"
        )
    write = amounts[2] if len(amounts) == 4 else None
    return RolePrices(amounts[0], amounts[0] if len(amounts) == 2 else amounts[1], amounts[-1], cache_write=write)


def pair_name(*addresses: Address) -> str:
    """Return the name of the pair of the large model and its small ones."""
    return "--".join(address.name for address in addresses)


def write_profile(folder: Path, name: str, large: Role, *small: Role) -> Path:
    """`folder`/`name`/profile.toml, and models.toml for models of Hugging Face. Raises AddressError where it could not
    be loaded.
    """
    home = folder / name
    text = profile_text(name, large, *small)
    try:
        profile_of(text, home / "profile.toml")
    except InvalidArgument as error:
        raise AddressError(f"no profile follows from these models: {error}") from error
    home.mkdir(parents=True, exist_ok=True)
    (home / "profile.toml").write_text(text)
    if entries := [_catalogue_entry(role.address) for role in (large, *small) if role.address.repository]:
        (home / "models.toml").write_text("\n".join(entries))
    return home / "profile.toml"


def profile_text(name: str, large: Role, *small: Role) -> str:
    """Raises AddressError where there are more small models than roles."""
    if len(small) > len(SMALL_ROLES):
        raise AddressError(f"a profile has {len(SMALL_ROLES)} small models at most")
    roles = dict(zip(MODEL_ROLES, (large, *small), strict=False))
    answer = min(role.output_tokens for role in roles.values())
    question = min(role.question_tokens for role in roles.values())
    return _TEMPLATE.format(
        name=json.dumps(name),
        description=json.dumps(" with ".join(role.address.name for role in roles.values())),
        question=question,
        models="\n\n".join(
            _model(role, given, is_one_of_several=role != LLM and len(small) > 1) for role, given in roles.items()
        ),
        stage=min(256, answer // 2),
        answer=answer,
        trial=min(1024, answer),
        order=_ORDER.format(order=json.dumps([*roles][1:])) if len(small) > 1 else "",
        prices=_prices(roles),
    )


def _model(role: str, given: Role, *, is_one_of_several: bool) -> str:
    table = LLM if role == LLM else SLM
    head = f"[[{table}]]" if is_one_of_several else f"[{table}]"
    lines = [head, f"name = {json.dumps(given.address.name)}", f"parameters = {given.parameters:g}"]
    if given.address.api is not None:
        assert given.found is not None
        lines += ["", f"[{table}.api]", *_assignments(given.address.api.model_dump(exclude=_NOT_WRITTEN))]
        lines += ["", f"[{table}.api.can]", *_assignments(given.found.can.model_dump())]
    return "\n".join(lines)


def _prices(roles: dict[str, Role]) -> str:
    lines, sources = [], []
    for role, given in roles.items():
        prices, source = given.price
        sources.append(source)
        if prices is None:
            lines.append(
                f"# {role}: no price of {given.address.name} is known, so what it does costs null, not 0. Put one here:"
            )
            lines.append(f"# {role} = {{ input = 0.10, cached_input = 0.05, output = 0.40 }}")
        else:
            known = {name: amount for name, amount in asdict(prices).items() if amount is not None}
            del known["is_known"], known["fees"]
            if prices.cache_write is None and given.address.api and given.address.api.protocol == "anthropic":
                named = f"# {role}: nobody says what a cache write of {given.address.name} costs"
                lines.append(f"{named}: bills take the input's price, with a note.")
                lines.append("# Such vendors ask more: add cache_write = ... here.")
            lines.append(f"{role} = {{ {', '.join(f'{name} = {amount:g}' for name, amount in known.items())} }}")
    version = " with ".join(dict.fromkeys(sources))
    return "\n".join([f"version = {json.dumps(version)}", *lines])


def _assignments(values: dict[str, Any]) -> list[str]:
    return [f"{name} = {json.dumps(value)}" for name, value in values.items()]


def _catalogue_entry(address: Address) -> str:
    fields = {
        "kind": "snapshot",
        "license": "see the repository",
        "base": address.repository,
        "repository": address.repository,
    }
    return "\n".join([f"[{json.dumps(address.name)}]", *_assignments(fields)]) + "\n"


_ORDER = """\
# Who tries, each where those before it did not pass. With "python_agreement" among the checks above, programs of both must agree as well.
order = {order}
"""  # noqa: E501
_TEMPLATE = """\
# Written by `tandem profile new`; yours to change. `tandem profile check` asks the endpoints again what they can do.
name = {name}
description = {description}
# The small model's answer goes on from the large one's text, where it ever reads any: with no scorer it does not.
handoff = "continuation"
# The most of a question or a conversation, and below [execution] of an answer: what the smallest of the models takes.
max_question_tokens = {question}

{models}

[[stages]]
name = "start"
max_tokens = {stage}
threshold = 1.0

[prompts]
system = ""
question = \"\"\"{{question}}

Reason step by step, and put your final answer within \\\\boxed{{}}.\"\"\"

code = \"\"\"Complete this Python function. Answer with the whole function in one block of code.

```python
{{question}}
```\"\"\"

json = \"\"\"{{question}}

Answer with one JSON value that follows this JSON schema, and with nothing else:
{{schema}}\"\"\"

# The small model answers first where a check can prove its answer; elsewhere the large one answers. A scorer of your own pair may
# do better: docs/stop-rule.md.
[stop]
scorer = "off"
stage_zero = false
otherwise = "llm_finishes"

[checks]
code = ["python_examples:weight=2"]

[trial]
stages = [0]
{order}mode = "sequential"
max_tokens = {trial}

[execution]
max_tokens = {answer}
answer_format = "boxed"
prefill_ahead = false

# USD per million tokens.
[prices]
{prices}

[llm_alone]
# A guess of what the large model needs by itself, for estimates of what is saved: `tandem calibrate --write` measures it.
output_tokens = 350
"""  # noqa: E501
