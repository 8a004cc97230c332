"""The events that a client receives, in the order in which they happen. `Completed` is the last one.

match event:
    case AnswerDelta():
        print(event.text, end="")
    case Completed():
        print(event.result.cost.usd)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, get_args

from tandem.convert.messages import from_pb
from tandem.method.request.events import (
    Accepted,
    AnswerDelta,
    Checked,
    InsightDelta,
    LlmStopped,
    Restarted,
    Scored,
    StageCompleted,
)
from tandem.v1 import tandem_pb2

__all__ = [
    "Accepted",
    "AnswerDelta",
    "Checked",
    "Completed",
    "Event",
    "InsightDelta",
    "LlmStopped",
    "Restarted",
    "Scored",
    "StageCompleted",
    "event_from_pb",
]


@dataclass(frozen=True, slots=True)
class Completed:
    """Answer, stop, usage and bill. `tandem.to_dict(event.result)` is what `tandem ask --json` prints."""

    kind: ClassVar[str] = "completed"
    result: tandem_pb2.SolveResult


Event = Accepted | InsightDelta | StageCompleted | Scored | Checked | LlmStopped | AnswerDelta | Restarted | Completed
_KINDS = {each.kind: each for each in get_args(Event)}


def event_from_pb(message: tandem_pb2.SolveEvent) -> Event | None:
    """None for an event that this version of the client does not know."""
    name = message.WhichOneof("event") or ""
    if name == Completed.kind:
        return Completed(message.completed)
    kind = _KINDS.get(name)
    return from_pb(getattr(message, name), kind, is_lenient=True) if kind else None
