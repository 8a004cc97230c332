"""What tells whether calls of tools are right: how sure the model was of each part of them, and what they say.

Log-probabilities are those before any constraint, in nats; a part that is not there is certain. Serving and training
both compute it here.
"""

# No `from __future__ import annotations`: see tandem.method.request.request.
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tandem.method.conversation import Message
from tandem.method.evidence.same_answer import AnswerKind, normal_form
from tandem.method.tools import Call, Tool

Token = tuple[str, float]
"""Its text, empty for the one that ends the answer, and its log-probability."""
Span = tuple[int, int]
PARTS = ("name", "key", "number", "text", "choice")
"""Of calls: the tool's name, the arguments' names, and their values: numbers, free texts, and what a schema offers or a
literal.
"""
TEXT_NAMES = ("mean", "least", "opening", "tokens", "tools")
"""Evidence about an answer that calls nothing."""
CALL_NAMES = (
    *TEXT_NAMES,
    "ending",
    *(f"{part}_{kind}" for part in PARTS for kind in ("mean", "least")),
    "calls",
    "arguments",
    "optional",
    "grounded",
)
_ARGUMENTS = '"arguments":'
_JSON = re.compile(r'"((?:[^"\\]|\\.)*)"(\s*:)?|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|(true|false|null)')
_ERROR = re.compile(r"\s*(\w*error|\w*exception|traceback|failed)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Written:
    """An answer with `tokens`, and the `calls` that were read from it."""

    tokens: Sequence[Token]
    calls: Sequence[Call]


def evidence(written: Written, tools: Sequence[Tool], said: Iterable[str]) -> dict[str, float]:
    """By name, CALL_NAMES; of an answer without calls only TEXT_NAMES. `said` is all that the caller and its tools have
    said.
    """
    chances = [chance for _, chance in written.tokens]
    found = {
        "mean": sum(chances) / len(chances),
        "least": min(chances),
        "opening": chances[0],
        "tokens": math.log1p(len(chances)),
        "tools": math.log1p(len(tools)),
    }
    return found | _of_calls(written, tools, said) if written.calls else found


def _of_calls(written: Written, tools: Sequence[Tool], said: Iterable[str]) -> dict[str, float]:
    schemas = [tool.as_data()["function"]["parameters"] for tool in tools]
    parts = _chances_by_part(written, schemas)
    by_name = {tool.name: schema for tool, schema in zip(tools, schemas, strict=True)}
    given = [
        (by_name.get(name, {}), key, value) for name, text in written.calls for key, value in _values(text).items()
    ]
    optional = sum(key not in schema.get("required", ()) for schema, key, _ in given)
    return {
        "ending": written.tokens[-1][1],
        **{f"{part}_mean": sum(found) / len(found) if found else 0.0 for part, found in parts.items()},
        **{f"{part}_least": min(found, default=0.0) for part, found in parts.items()},
        "calls": math.log1p(len(written.calls)),
        "arguments": math.log1p(len(given)),
        "optional": optional / max(1, len(given)),
        "grounded": _grounded([value for _, _, value in given], " ".join(said).casefold()),
    }


def _chances_by_part(written: Written, schemas: Sequence[Any]) -> dict[str, list[float]]:
    """Log-probabilities of the tokens that write a character of each part."""
    text = "".join(text for text, _ in written.tokens)
    offered = {choice for schema in schemas for choice in _choices(schema)}
    spans = list(_spans(text, written.calls, offered))
    chances: dict[str, list[float]] = {part: [] for part in PARTS}
    place = 0
    for piece, chance in written.tokens:
        end = place + len(piece)
        for part in {part for part, (start, stop) in spans if start < end and place < stop}:
            chances[part].append(chance)
        place = end
    return chances


def _spans(text: str, calls: Sequence[Call], offered: set[str]) -> Iterator[tuple[str, Span]]:
    """Where the parts of the calls are in `text`; a text's closing quotation mark belongs to it, since it ends it."""
    place = 0
    for name, arguments in calls:
        begin = text.find(arguments, place)
        if begin < 0:  # a call that was written as bare JSON, with other spaces
            begin = max(place, text.find(_ARGUMENTS, place) + len(_ARGUMENTS))
            arguments = text[begin:]
        at = text.find(name, place, begin or len(text))
        if at >= 0:
            yield "name", (at, at + len(name) + 1)
        for found in _JSON.finditer(arguments):
            string, is_key, number, _ = found.groups()
            part = "key" if is_key else "number" if number else "text"
            if not is_key and not number and (string is None or string in offered):
                part = "choice"
            yield part, (begin + found.start() + (string is not None), begin + found.end())
        place = begin + len(arguments)


def _choices(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        offered = schema.get("enum")
        if isinstance(offered, list):
            yield from (choice for choice in offered if isinstance(choice, str))
        for value in schema.values():
            yield from _choices(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _choices(value)


def _values(arguments: str) -> dict[str, Any]:
    try:
        found = json.loads(arguments)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _grounded(values: Sequence[Any], said: str) -> float:
    """The share of numbers and texts in `values` that were said; 1 where there are none."""
    leaves = [leaf for value in values for leaf in _leaves(value)]
    return sum(leaf.casefold() in said for leaf in leaves) / len(leaves) if leaves else 1.0


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _leaves(each)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield f"{value:g}"


def doubt(
    calls: Sequence[Call],
    history: Sequence[Message],
    text: str = "",
    tools: Sequence[Tool] = (),
    *,
    takes_no_call_later: bool = False,
) -> str:
    """Why neither certainty nor agreement is enough for these `calls`, or for the `text` of an answer that makes none:
    a call of one of the `tools` was made before or stands in the text, the last result is an error, or the text comes
    in the middle of a session, without `takes_no_call_later`. Empty: they may be.
    """
    # An API that reads no calls gives them as text: `{"name": "TOOL", ...}`.
    if not calls and any(f'"{tool.name}"' in text for tool in tools):
        return "a call stands in the text, so that none is read"
    before = {_form(call.name, call.arguments) for each in history for call in each.calls}
    if any(_form(*call) in before for call in calls):
        return "it makes the same call again"
    if history and history[-1].speaker == "tool" and _is_error(history[-1].text):
        return "the last result is an error"
    if not calls and not takes_no_call_later and any(each.calls for each in history):
        return "none of them calls a tool in the middle of a session"
    return ""


def _form(name: str, arguments: str) -> str:
    return normal_form(AnswerKind("calls"), [(name, arguments)])


def _is_error(result: str) -> bool:
    found: Mapping[str, Any] = _values(result)
    return bool(found.get("error")) or found.get("is_error") is True or bool(_ERROR.match(result))
