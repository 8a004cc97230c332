"""The check `call`: what a caller knows of the arguments of its tools, beyond their types.

`call:TOOL:CHECK:ARGUMENT` is about all arguments of each call of TOOL, as a JSON object; `call:TOOL/NAME:...` about one
of them, which may lie deeper (`TOOL/NAME/NAME`). CHECK is `json_schema`, `regex` or `choice`, with its argument. The
answer is a JSON list of calls, each with `name` and `arguments`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from services.shared.checks.api import Check, Compared, failed, passed, unknown
from services.shared.checks.built_in import CHOICE, JSON_SCHEMA, REGEX
from tandem.method.evidence.checks import CALL, CheckSpec, Verdict

_INNER = {check.name: check for check in (JSON_SCHEMA, REGEX, CHOICE)}
_FORM = "give it as TOOL:CHECK:ARGUMENT or TOOL/NAME:CHECK:ARGUMENT"


@dataclass(frozen=True, slots=True)
class CallCheck:
    """`path`: names of the argument; empty: all arguments."""

    tool: str
    path: tuple[str, ...]
    check: CheckSpec

    @classmethod
    def parse(cls, argument: str) -> CallCheck:
        """Raises ValueError."""
        target, _, check = argument.partition(":")
        tool, *path = target.split("/")
        inner = CheckSpec.parse(check)
        if not tool or not all(path) or not inner.argument.strip():
            raise ValueError(_FORM)
        if inner.name not in _INNER:
            raise ValueError(f"{inner.name!r} is none of {', '.join(_INNER)}: {_FORM}")
        return cls(tool, tuple(path), inner)


def _validate(argument: str) -> None:
    """A JSON schema is left to who tries it within limits."""
    check = CallCheck.parse(argument).check
    if check.name != JSON_SCHEMA.name:
        _INNER[check.name].validate(check.argument)


def schema_in(spec: CheckSpec) -> str:
    """Return the JSON schema that a check compares with, its own or one of calls; empty without one. To validate one
    may take minutes, so a request's is tried within limits. Raises ValueError.
    """
    inner = CallCheck.parse(spec.argument).check if spec.name == CALL else spec
    return inner.argument if inner.name == JSON_SCHEMA.name else ""


def _compare(question: str, answer: str, argument: str) -> Compared:
    wanted = CallCheck.parse(argument)
    calls = [call["arguments"] for call in json.loads(answer) if call["name"] == wanted.tool]
    values = [value for arguments in calls for value in _values(arguments, wanted.path)]
    if not values:
        return unknown(f"no call has {'/'.join((wanted.tool, *wanted.path))}")
    inner = _INNER[wanted.check.name]
    assert inner.compare is not None
    for value in values:
        is_text = isinstance(value, str) and inner is not JSON_SCHEMA
        found = inner.compare(
            question, value if is_text else json.dumps(value, ensure_ascii=False), wanted.check.argument
        )
        if found.verdict is not Verdict.PASS:
            return failed(f"{'/'.join((wanted.tool, *wanted.path))}: {found.detail}")
    return passed()


def _values(value: Any, path: tuple[str, ...]) -> Iterator[Any]:
    if not path:
        yield value
    elif isinstance(value, dict) and path[0] in value:
        yield from _values(value[path[0]], path[1:])


CALL_CHECK = Check(CALL, _compare, _validate, tasks=("chat",))
