"""Enums, small values and token counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tandem.method.conversation import Message, Speaker, Task
from tandem.method.errors import InvalidArgument
from tandem.method.evidence.checks import CheckSpec, Verdict
from tandem.method.profile.prices import UNKNOWN, RolePrices
from tandem.method.request.result import StopReason
from tandem.method.tokens import STATES, Sampling, TokenCounts
from tandem.method.tools import Tool, ToolCall, ToolMode, ToolUse
from tandem.v1 import execution_pb2, tandem_pb2

_TASKS: dict[int, Task] = {
    tandem_pb2.TASK_ANSWER: "answer",
    tandem_pb2.TASK_CODE: "code",
    tandem_pb2.TASK_CHAT: "chat",
}
_SPEAKERS: dict[int, Speaker] = {
    tandem_pb2.SPEAKER_SYSTEM: "system",
    tandem_pb2.SPEAKER_USER: "user",
    tandem_pb2.SPEAKER_ASSISTANT: "assistant",
    tandem_pb2.SPEAKER_TOOL: "tool",
}
_TOOL_MODES: dict[int, ToolMode] = {
    tandem_pb2.TOOL_MODE_UNSPECIFIED: "auto",
    tandem_pb2.TOOL_MODE_AUTO: "auto",
    tandem_pb2.TOOL_MODE_NONE: "none",
    tandem_pb2.TOOL_MODE_REQUIRED: "required",
}
FINISH_REASONS = {
    "eos": execution_pb2.FINISH_REASON_EOS,
    "length": execution_pb2.FINISH_REASON_LENGTH,
    "aborted": execution_pb2.FINISH_REASON_ABORTED,
}


def task_from_pb(task: int, unspecified: Task = "answer") -> Task:
    """Raises InvalidArgument for a number that this version does not know."""
    if task == tandem_pb2.TASK_UNSPECIFIED:
        return unspecified
    if task not in _TASKS:
        raise InvalidArgument(f"unknown task {task}", field="task")
    return _TASKS[task]


def task_to_pb(task: Task) -> tandem_pb2.Task.ValueType:
    return tandem_pb2.Task.Value(f"TASK_{task.upper()}")


def message_from_pb(message: tandem_pb2.Message) -> Message:
    """Raises InvalidArgument for a speaker that is not given, or that this version does not know."""
    if message.speaker not in _SPEAKERS:
        raise InvalidArgument(f"a message needs a speaker, not {message.speaker}", field="messages")
    calls = tuple(ToolCall(call.id, call.name, call.arguments) for call in message.tool_calls)
    return Message(_SPEAKERS[message.speaker], message.text, calls, message.tool_call_id)


def message_to_pb(message: Message) -> tandem_pb2.Message:
    return tandem_pb2.Message(
        speaker=tandem_pb2.Speaker.Value(f"SPEAKER_{message.speaker.upper()}"),
        text=message.text,
        tool_calls=[call_to_pb(call) for call in message.calls],
        tool_call_id=message.call_id,
    )


def call_to_pb(call: ToolCall) -> tandem_pb2.ToolCall:
    return tandem_pb2.ToolCall(id=call.id, name=call.name, arguments=call.arguments)


def tools_from_pb(tools: Sequence[tandem_pb2.Tool], choice: tandem_pb2.ToolChoice) -> ToolUse:
    """Raises InvalidArgument for a mode that this version does not know."""
    if choice.mode not in _TOOL_MODES:
        raise InvalidArgument(f"unknown mode {choice.mode}", field="tool_choice")
    offered = tuple(Tool(tool.name, tool.description, tool.parameters, tool.strict) for tool in tools)
    parallel = not choice.HasField("parallel") or choice.parallel
    return ToolUse(offered, _TOOL_MODES[choice.mode], tuple(choice.allowed), parallel)


def tools_to_pb(use: ToolUse) -> dict[str, Any]:
    """The two fields of a message: tools, and how they are to be used."""
    if not use.tools:
        return {}
    mode = tandem_pb2.ToolMode.Value(f"TOOL_MODE_{use.mode.upper()}")
    return {
        "tools": [tandem_pb2.Tool(**asdict(tool)) for tool in use.tools],
        "tool_choice": tandem_pb2.ToolChoice(mode=mode, allowed=use.allowed, parallel=use.parallel),
    }


def stop_reason_to_pb(reason: StopReason | str) -> tandem_pb2.StopReason.ValueType:
    return tandem_pb2.StopReason.Value(f"STOP_REASON_{reason.upper()}")


def finish_reason_from_pb(reason: int) -> str:
    return {number: name for name, number in FINISH_REASONS.items()}[reason]  # type: ignore[index]


def sampling_from_pb(sampling: tandem_pb2.Sampling) -> Sampling:
    return Sampling(**{field.name: value for field, value in sampling.ListFields()})


def sampling_to_pb(sampling: Sampling) -> tandem_pb2.Sampling:
    return tandem_pb2.Sampling(**asdict(sampling))


def prices_from_pb(message: Any, field: str = "prices") -> RolePrices:
    """Of the message's field; unset, the price is not known."""
    if not message.HasField(field):
        return UNKNOWN
    prices = getattr(message, field)
    writes = {name: optional(prices, name) for name in ("cache_write", "cache_write_hour")}
    return RolePrices(prices.input, prices.cached_input, prices.output, fees=dict(prices.fees), **writes)


def prices_to_pb(prices: RolePrices) -> tandem_pb2.RolePrices | None:
    """None, which sets no field, for a price that is not known."""
    if not prices.is_known:
        return None
    amounts = asdict(prices)
    del amounts["is_known"]
    return tandem_pb2.RolePrices(**amounts)


def role_to_pb(role: str) -> tandem_pb2.Role.ValueType:
    return tandem_pb2.Role.Value(f"ROLE_{role.upper()}")


def verdict_to_pb(verdict: Verdict) -> tandem_pb2.Verdict.ValueType:
    return tandem_pb2.Verdict.Value(f"VERDICT_{verdict.upper()}")


def verdict_from_pb(verdict: int) -> Verdict:
    """Raises InvalidArgument for a number that this version does not know."""
    try:
        return Verdict(tandem_pb2.Verdict.Name(verdict).removeprefix("VERDICT_").lower())  # type: ignore[arg-type]
    except ValueError:
        raise InvalidArgument(f"unknown verdict {verdict}", field="verdict") from None


def check_to_pb(check: CheckSpec) -> tandem_pb2.Check:
    return tandem_pb2.Check(name=check.name, argument=check.argument)


def check_from_pb(check: tandem_pb2.Check) -> CheckSpec:
    return CheckSpec(check.name, check.argument)


def counts_to_pb(model: str, counts: TokenCounts) -> tandem_pb2.TokenUsage:
    tokens = {f"{state}_tokens": getattr(counts, name) for name, state in STATES.items()}
    uses = counts.tool_uses
    return tandem_pb2.TokenUsage(model=model, is_estimated=counts.is_estimated, tool_uses=uses, **tokens)


def counts_from_pb(usage: tandem_pb2.TokenUsage) -> TokenCounts:
    tokens = {name: getattr(usage, f"{state}_tokens") for name, state in STATES.items()}
    return TokenCounts(**tokens, is_estimated=usage.is_estimated, tool_uses=dict(usage.tool_uses))


def optional(message: Any, field: str) -> Any:
    return getattr(message, field) if message.HasField(field) else None
