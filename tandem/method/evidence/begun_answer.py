"""Answers that are still being written: whether two of them can still come to be the same, and which models of several
are not needed any more.

What is said here of a begun answer holds however it goes on: a key that is given twice and a call that breaks off
apart.
"""

# No `from __future__ import annotations`: see tandem.method.request.request.
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tandem.method.evidence.same_answer import (
    NO_CALL,
    Answer,
    AnswerKind,
    called_name,
    choice,
    dumped,
    normal_form,
    same,
    without_defaults,
)
from tandem.method.tools import Call

_SPACE = re.compile(r"\s*")
_LETTER = re.compile(r"(?:option|choice)?\s*(?:\([A-J]\)|[A-J][.:)])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Begun:
    """What a model has written: a text, or calls, of which the last may be cut in its arguments. `is_over`: it has
    ended by itself.
    """

    answer: Answer = ""
    is_over: bool = False


def can_still_agree(kind: AnswerKind, one: Begun, other: Begun) -> bool:
    """Not, where nothing that either may yet write makes them the same."""
    if one.is_over and other.is_over:
        return same(kind, one.answer, other.answer) is True
    if kind.form == "calls":
        return _can_calls(kind, one, other)
    if kind.form == "json":
        return _can_json(kind, one, other)
    if kind.form == "option":
        letters = [_letter(each) for each in (one, other)]
        return "" in letters or letters[0] == letters[1]
    return True


def needless(kind: AnswerKind, begun: Sequence[Begun | None], wanted: int) -> list[int]:
    """Places of those that still write, and whose answers cannot be one of `wanted` that are the same; None: it has
    failed. None are where nothing is `wanted` (0).
    """
    if not wanted:
        return []
    is_decided = agreed(kind, begun, wanted) is not None
    return [
        place
        for place, each in enumerate(begun)
        if each and not each.is_over and (is_decided or _partners(kind, begun, place) < wanted - 1)
    ]


def may_agree(kind: AnswerKind, begun: Sequence[Begun | None], wanted: int) -> bool:
    """Whether `wanted` of them can still be the same; None: it has failed, or was not asked."""
    return any(each and _partners(kind, begun, place) >= wanted - 1 for place, each in enumerate(begun))


def agreed(kind: AnswerKind, begun: Sequence[Begun | None], wanted: int) -> int | None:
    """The first place whose answer is over and the same as `wanted` - 1 others; None: there is none yet, or nothing is
    `wanted` (0).
    """
    if not wanted:
        return None
    over = [each if each and each.is_over else None for each in begun]
    places = (place for place, each in enumerate(over) if each and _partners(kind, over, place) >= wanted - 1)
    return next(places, None)


def _partners(kind: AnswerKind, begun: Sequence[Begun | None], place: int) -> int:
    """How many others may have the same answer."""
    own = begun[place]
    others = (each for at, each in enumerate(begun) if each and at != place)
    return sum(own is not None and can_still_agree(kind, own, each) for each in others)


def _can_calls(kind: AnswerKind, one: Begun, other: Begun) -> bool:
    if other.is_over:
        one, other = other, one
    schemas = {called_name(tool.name): tool.as_data()["function"]["parameters"] for tool in kind.tools}
    if one.is_over:
        form = normal_form(kind, one.answer)
        return bool(form) and _may_become(_listed(other), form, schemas)
    calls = [_listed(each)[:1] for each in (one, other)]
    return not kind.is_single or not all(calls) or _may_be_one(calls[0][0], calls[1][0], schemas)


def _listed(begun: Begun) -> Sequence[Call]:
    return () if isinstance(begun.answer, str) else begun.answer


def _may_become(calls: Sequence[Call], form: str, schemas: Mapping[str, Any]) -> bool:
    """Each is another one of the calls in the normal form, or may become it."""
    left = [json.loads(line) for line in form.split("\n")] if form != NO_CALL else []
    for name, arguments in calls:
        members, is_whole = _members(arguments)
        schema = schemas.get(called_name(name), {})
        found = [
            place
            for place, (wanted, values) in enumerate(left)
            if wanted == called_name(name)
            and _fit(members, values, schema)
            and (not is_whole or values.keys() == without_defaults(members, schema).keys())
        ]
        if not found:
            return False
        if is_whole:
            del left[found[0]]
    return True


def _may_be_one(call: Call, other: Call, schemas: Mapping[str, Any]) -> bool:
    name, (members, _) = called_name(call[0]), _members(call[1])
    return name == called_name(other[0]) and _fit_each_other(members, _members(other[1])[0], schemas.get(name, {}))


def _can_json(kind: AnswerKind, one: Begun, other: Begun) -> bool:
    if other.is_over:
        one, other = other, one
    schema, members = json.loads(kind.json_schema) if kind.json_schema else {}, _members(_text(other))[0]
    if not one.is_over:
        return _fit_each_other(_members(_text(one))[0], members, schema)
    form = normal_form(kind, one.answer)
    value = json.loads(form) if form else None
    return bool(form) and (not members or (isinstance(value, dict) and _fit(members, value, schema)))


def _text(begun: Begun) -> str:
    return begun.answer if isinstance(begun.answer, str) else ""


def _fit(members: Mapping[str, Any], values: Mapping[str, Any], schema: Any) -> bool:
    """The members are among the values of a normal form, or left out there as defaults."""
    known = without_defaults(members, schema)
    return all(_one(known, key) == _one(values, key) for key in members)


def _fit_each_other(members: Mapping[str, Any], others: Mapping[str, Any], schema: Any) -> bool:
    one, other = without_defaults(members, schema), without_defaults(others, schema)
    return all(_one(one, key) == _one(other, key) for key in members.keys() & others.keys())


def _one(values: Mapping[str, Any], key: str) -> str:
    """To be compared: Python's True is 1."""
    return dumped(values[key]) if key in values else ""


def _letter(begun: Begun) -> str:
    """The choice that is fixed; empty: none is yet."""
    text = _text(begun).strip("$ *")
    return choice(text) if begun.is_over or _LETTER.match(text) else ""


def _members(text: str) -> tuple[dict[str, Any], bool]:
    """The members of a JSON object that have ended in the beginning of its text, and whether all of it has."""
    decoder, place = json.JSONDecoder(), _after_space(text, 0)
    found: dict[str, Any] = {}
    if text[place : place + 1] != "{":
        return {}, False
    place = _after_space(text, place + 1)
    if text[place : place + 1] == "}":
        return {}, True
    while True:
        try:
            key, place = decoder.raw_decode(text, place)
            place = _after_space(text, place)
            if text[place : place + 1] != ":":
                return found, False
            value, place = decoder.raw_decode(text, _after_space(text, place + 1))
        except (ValueError, RecursionError):
            return found, False
        place = _after_space(text, place)
        if text[place : place + 1] not in ("}", ","):
            return found, False
        found[str(key)] = value
        if text[place] == "}":
            return found, True
        place = _after_space(text, place + 1)


def _after_space(text: str, place: int) -> int:
    space = _SPACE.match(text, place)
    assert space  # it may be empty
    return space.end()
