"""Messages of the contract as dictionaries with every key present: what `--json` prints."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message


def to_dict(message: Message) -> dict[str, Any]:
    """Field names as keys, unset optional fields as None, enum values without their prefix in lower case."""
    return {field.name: _value(message, field) for field in message.DESCRIPTOR.fields}


def to_dict_or_none(message: Message, *names: str) -> dict[str, Any]:
    """The same, with None for each message of `names` that is unset, rather than an empty one."""
    return to_dict(message) | {name: None for name in names if not message.HasField(name)}


def _value(message: Message, field: Any) -> Any:
    value = getattr(message, field.name)
    if field.message_type and field.message_type.GetOptions().map_entry:
        return dict(value)
    if field.is_repeated:
        return [_single(item, field) for item in value]
    if field.has_presence and not message.HasField(field.name) and (not field.message_type or field.containing_oneof):
        return None
    return _single(value, field)


def _single(value: Any, field: Any) -> Any:
    if field.message_type:
        return to_dict(value)
    if field.enum_type:
        name = field.enum_type.values_by_number[value].name
        return name.removeprefix(f"{_prefix(field.enum_type.name)}_").lower()
    return value


def _prefix(enum_name: str) -> str:
    """StopReason -> STOP_REASON."""
    return "".join(f"_{c}" if c.isupper() else c for c in enum_name).lstrip("_").upper()
