"""Between the contract's messages and dataclasses, derived from both: what has the same name is the same.

A field of a dataclass that is missing in the message, or the other way round, is left out; `RENAMED` says what has
another name. An enum's value `ROLE_SECOND_SLM` is `second_slm`. A field of a message that may be unset is None in the
dataclass. What else differs is said where it is converted (`more`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from functools import cache
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from tandem.method.conversation import Message as Said
from tandem.method.errors import InvalidArgument
from tandem.method.tokens import STATES, TokenCounts

M = TypeVar("M", bound=Message)
T = TypeVar("T")
Convert = Callable[[Any], Any]
RENAMED: Mapping[type, Mapping[str, str]] = {
    TokenCounts: {f"{state}_tokens": name for name, state in STATES.items()},
    Said: {"tool_calls": "calls", "tool_call_id": "call_id"},
}
"""By dataclass: its fields by the names that they have in the message."""


def to_pb(value: Any, kind: type[M], **more: Any) -> M:
    """A message of `kind` from a dataclass, or from a mapping whose keys are the message's fields. `more`: fields that
    are not derived.
    """
    if isinstance(value, Mapping):
        return kind(**value, **more)
    own_kind: Any = type(value)
    made: Any = kind
    given = {name: convert(getattr(value, own)) for name, own, convert in _writers(own_kind, made) if name not in more}
    return kind(**given, **more)


def from_pb(message: Message, kind: type[T], *, is_lenient: bool = False, **more: Any) -> T:
    """A dataclass of `kind`. `more`: fields that are not derived. `is_lenient`: a field whose enum has a value that
    this version does not know keeps its default, or is text as it came where it has none.

    Raises InvalidArgument for such a value.
    """
    own_kind: Any = kind
    read: Any = type(message)
    given = {}
    for name, own, has_presence, convert in _readers(own_kind, read):
        if own in more:
            continue
        try:
            given[own] = None if has_presence and not message.HasField(name) else convert(getattr(message, name))
        except InvalidArgument:
            if not is_lenient:
                raise
            if own in _without_default(own_kind):
                given[own] = str(getattr(message, name))
    return kind(**given, **more)


def enum_name(enum: EnumDescriptor, number: int) -> str:
    """ROLE_SECOND_SLM is `second_slm`. Raises InvalidArgument for a number that this version does not know."""
    if number not in enum.values_by_number:
        raise InvalidArgument(f"unknown {_words(enum)} {number}", field=_words(enum))
    return enum.values_by_number[number].name.removeprefix(_prefix(enum)).lower()


def enum_number(enum: EnumDescriptor, name: str) -> Any:
    """The same, the other way; 0 of an empty name."""
    return enum.values_by_name[_prefix(enum) + name.upper()].number if name else 0


@cache
def _writers(kind: Any, message: Any) -> tuple[tuple[str, str, Convert], ...]:
    own = _own_names(kind, message)
    return tuple((field.name, own[field.name], _writer(field)) for field in _shared(kind, message))


@cache
def _readers(kind: Any, message: Any) -> tuple[tuple[str, str, bool, Convert], ...]:
    own, hints = _own_names(kind, message), get_type_hints(kind)
    return tuple(
        (field.name, own[field.name], field.has_presence and _may_be_none(hint), _reader(field, hint))
        for field in _shared(kind, message)
        for hint in [hints[own[field.name]]]
    )


@cache
def _without_default(kind: Any) -> frozenset[str]:
    return frozenset(
        field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING
    )


def _own_names(kind: type, message: type[Message]) -> dict[str, str]:
    renamed = RENAMED.get(kind, {})
    return {field.name: renamed.get(field.name, field.name) for field in message.DESCRIPTOR.fields}


def _shared(kind: type, message: type[Message]) -> list[Any]:
    own, has = _own_names(kind, message), {field.name for field in fields(kind)}
    return [field for field in message.DESCRIPTOR.fields if own[field.name] in has]


def _writer(field: Any) -> Convert:
    one = _one_writer(field)
    if field.is_repeated and not _is_map(field) and one is not _same:
        return lambda values: [one(value) for value in values]
    return one


def _one_writer(field: Any) -> Convert:
    if field.enum_type:
        return lambda name: enum_number(field.enum_type, name)
    if not field.message_type or _is_map(field):
        return _same
    kind = GetMessageClass(field.message_type)
    return lambda value: None if value is None else to_pb(value, kind)


def _reader(field: Any, hint: Any) -> Convert:
    if _is_map(field):
        return dict
    if field.is_repeated and get_args(hint):
        one, collect = _one_reader(field, get_args(hint)[0]), get_origin(hint)
        return lambda values: collect(one(value) for value in values)
    return _one_reader(field, next((each for each in get_args(hint) if each is not NoneType), hint))


def _one_reader(field: Any, kind: Any) -> Convert:
    if field.enum_type:
        known = kind if isinstance(kind, type) else str  # a Literal is text
        return lambda number: _valued(known, field.enum_type, number)
    return (lambda value: from_pb(value, kind)) if field.message_type else _same


def _valued(kind: type, enum: EnumDescriptor, number: int) -> Any:
    try:
        return kind(enum_name(enum, number))
    except ValueError:  # `unspecified`, where something has to be said
        raise InvalidArgument(f"unknown {_words(enum)} {number}", field=_words(enum)) from None


def _same(value: Any) -> Any:
    return value


def _may_be_none(hint: Any) -> bool:
    return NoneType in get_args(hint)


def _is_map(field: Any) -> bool:
    return bool(field.message_type and field.message_type.GetOptions().map_entry)


@cache
def _prefix(enum: EnumDescriptor) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", enum.name).upper() + "_"


def _words(enum: EnumDescriptor) -> str:
    return _prefix(enum)[:-1].lower().replace("_", " ")
