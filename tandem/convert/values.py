"""Enums, small values and token counts, where they are not simply what has the same name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from tandem.convert.messages import enum_name, enum_number, from_pb, to_pb
from tandem.method.conversation import Message, Task
from tandem.method.errors import InvalidArgument
from tandem.method.profile.prices import UNKNOWN, RolePrices
from tandem.method.tokens import TokenCounts
from tandem.method.tools import Tool, ToolUse
from tandem.v1 import tandem_pb2

_TASK = tandem_pb2.Task.DESCRIPTOR
_ROLE = tandem_pb2.Role.DESCRIPTOR
_REASON = tandem_pb2.StopReason.DESCRIPTOR
_TOOL_MODE = tandem_pb2.ToolMode.DESCRIPTOR


def task_from_pb(task: int, unspecified: Task = "answer") -> Task:
    """Raises InvalidArgument for a number that this version does not know."""
    found: Task = cast(Task, enum_name(_TASK, task)) if task else unspecified
    return found


def task_to_pb(task: Task) -> tandem_pb2.Task.ValueType:
    number: tandem_pb2.Task.ValueType = enum_number(_TASK, task)
    return number


def role_to_pb(role: str) -> tandem_pb2.Role.ValueType:
    """Unspecified where it is empty."""
    number: tandem_pb2.Role.ValueType = enum_number(_ROLE, role)
    return number


def stop_reason_to_pb(reason: str) -> tandem_pb2.StopReason.ValueType:
    """Unspecified where it is empty."""
    number: tandem_pb2.StopReason.ValueType = enum_number(_REASON, reason)
    return number


def message_from_pb(message: tandem_pb2.Message) -> Message:
    """Raises InvalidArgument for a speaker that is not given, or that this version does not know."""
    if message.speaker not in tandem_pb2.Speaker.values()[1:]:
        raise InvalidArgument(f"a message needs a speaker, not {message.speaker}", field="messages")
    return from_pb(message, Message)


def message_to_pb(message: Message) -> tandem_pb2.Message:
    return to_pb(message, tandem_pb2.Message)


def tools_from_pb(tools: Sequence[tandem_pb2.Tool], choice: tandem_pb2.ToolChoice) -> ToolUse:
    """Raises InvalidArgument for a mode that this version does not know."""
    if choice.mode not in tandem_pb2.ToolMode.values():
        raise InvalidArgument(f"unknown mode {choice.mode}", field="tool_choice")
    mode: Any = enum_name(_TOOL_MODE, choice.mode or tandem_pb2.TOOL_MODE_AUTO)
    parallel = not choice.HasField("parallel") or choice.parallel
    return ToolUse(tuple(from_pb(tool, Tool) for tool in tools), mode, tuple(choice.allowed), parallel)


def tools_to_pb(use: ToolUse) -> dict[str, Any]:
    """The two fields of a message: tools, and how they are to be used."""
    if not use.tools:
        return {}
    return {
        "tools": [to_pb(tool, tandem_pb2.Tool) for tool in use.tools],
        "tool_choice": to_pb(use, tandem_pb2.ToolChoice),
    }


def prices_from_pb(message: Any) -> RolePrices:
    """Of the message's field `prices`; unset, the price is not known."""
    return from_pb(message.prices, RolePrices) if message.HasField("prices") else UNKNOWN


def prices_to_pb(prices: RolePrices) -> tandem_pb2.RolePrices | None:
    """None, which sets no field, for a price that is not known."""
    return to_pb(prices, tandem_pb2.RolePrices) if prices.is_known else None


def counts_to_pb(model: str, counts: TokenCounts) -> tandem_pb2.TokenUsage:
    return to_pb(counts, tandem_pb2.TokenUsage, model=model)


def counts_from_pb(usage: tandem_pb2.TokenUsage) -> TokenCounts:
    return from_pb(usage, TokenCounts)
