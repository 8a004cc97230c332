"""Messages of the contract as dictionaries with every key present: what `--json` prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from tandem.method.roles import BILL_ROLES, SMALL_ROLES, title
from tandem.method.tokens import STATES
from tandem.v1 import tandem_pb2

_LATER_ROLES = SMALL_ROLES[2:]
"""Keys that an earlier version did not print: they are there only where a profile names so many small models."""

_NAMED = ("input", "cached_input", "cache_write", "cache_write_hour", "output")


@dataclass(frozen=True, slots=True)
class BillLine:
    """What one role of a request used. `usd` is None where its model's price is not known."""

    role: str
    usage: tandem_pb2.TokenUsage
    usd: float | None

    @property
    def title(self) -> str:
        """`large`, `small`, `second small`, ..., `scorer`."""
        return title(self.role)

    @property
    def generated(self) -> int:
        return self.usage.output_tokens + self.usage.overrun_tokens + self.usage.discarded_tokens

    @property
    def others(self) -> dict[str, int]:
        """By state, what is neither the prompt nor an answer: `overrun`, `discarded`."""
        tokens = {state: getattr(self.usage, f"{state}_tokens") for state in STATES.values() if state not in _NAMED}
        return {state: count for state, count in tokens.items() if count}

    @property
    def cache_writes(self) -> int:
        """Of the input: what a vendor also put into its cache."""
        return self.usage.cache_write_tokens + self.usage.cache_write_hour_tokens


def role_name(role: int) -> str:
    """Of the enum Role: ROLE_SECOND_SLM is `second_slm`."""
    return tandem_pb2.Role.Name(role).removeprefix("ROLE_").lower()  # type: ignore[arg-type]


def bill_lines(result: tandem_pb2.SolveResult) -> list[BillLine]:
    """The bill, one line for each role that the request's profile has; their USD add up to `cost.usd`."""
    usage: Message = result.usage
    usd: Message = result.cost.usd_by_role
    return [
        BillLine(role, getattr(usage, role), getattr(usd, role) if usd.HasField(role) else None)
        for role in BILL_ROLES
        if usage.HasField(role)
    ]


def shown_text(result: tandem_pb2.SolveResult) -> str:
    """The answer for a reader. A gateway of an earlier version has no `text`."""
    return result.text or result.answer


def final_value(result: tandem_pb2.SolveResult) -> str:
    """The final answer where it is a value in the shown text; empty where that is all of it."""
    return "" if result.answer == shown_text(result) else result.answer


def to_dict(message: Message) -> dict[str, Any]:
    """Field names as keys, unset optional fields as None, enum values without their prefix in lower case."""
    return {field.name: _value(message, field) for field in message.DESCRIPTOR.fields if _is_shown(message, field.name)}


def to_dict_or_none(message: Message, *names: str) -> dict[str, Any]:
    """The same, with None for each message of `names` that is unset, rather than an empty one."""
    return to_dict(message) | {name: None for name in names if not message.HasField(name)}


def _is_shown(message: Message, name: str) -> bool:
    return name not in _LATER_ROLES or message.HasField(name)


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
