"""The events that a client receives, in the order in which they happen. `Completed` is the last one.

match event:
    case AnswerDelta():
        print(event.text, end="")
    case Completed():
        print(event.result.cost.usd)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tandem.method.evidence.checks import Verdict
from tandem.method.request.events import (
    Accepted,
    AnswerDelta,
    AnswerText,
    Checked,
    InsightDelta,
    LlmStopped,
    Restarted,
    Scored,
    StageCompleted,
)
from tandem.method.roles import MODEL_ROLES, SLM
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

_ANSWER_TEXTS = {tandem_pb2.AnswerText.Value(f"ANSWER_TEXT_{text.upper()}"): text for text in AnswerText}
_ROLES = {tandem_pb2.Role.Value(f"ROLE_{role.upper()}"): role for role in MODEL_ROLES}
_VERDICTS = {tandem_pb2.Verdict.Value(f"VERDICT_{verdict.upper()}"): verdict for verdict in Verdict}


@dataclass(frozen=True, slots=True)
class Completed:
    """Answer, stop, usage and bill. `tandem.to_dict(event.result)` is what `tandem ask --json` prints."""

    kind: ClassVar[str] = "completed"
    result: tandem_pb2.SolveResult


Event = Accepted | InsightDelta | StageCompleted | Scored | Checked | LlmStopped | AnswerDelta | Restarted | Completed


def event_from_pb(message: tandem_pb2.SolveEvent) -> Event | None:
    """None for an event that this version of the client does not know."""
    match message.WhichOneof("event"):
        case "accepted":
            accepted = message.accepted
            return Accepted(
                request_id=accepted.request_id,
                trace_id=accepted.trace_id,
                profile=accepted.profile,
                stages=accepted.stages,
                answer_text=_ANSWER_TEXTS.get(accepted.answer_text, AnswerText.UNSPECIFIED),
                session=accepted.session,
                session_usd=accepted.session_usd if accepted.HasField("session_usd") else None,
                native=accepted.native,
                tells_effort=accepted.tells_effort,
                dropped=tuple(accepted.dropped),
            )
        case "insight_delta":
            delta = message.insight_delta
            return InsightDelta(delta.text, delta.tokens, delta.said, tuple(delta.native))
        case "answer_delta":
            return AnswerDelta(message.answer_delta.text, message.answer_delta.tokens, message.answer_delta.said)
        case "stage_completed":
            stage = message.stage_completed
            return StageCompleted(stage.stage, stage.name, stage.tokens)
        case "scored":
            return _scored(message.scored)
        case "checked":
            return _checked(message.checked)
        case "llm_stopped":
            return _llm_stopped(message.llm_stopped)
        case "restarted":
            restarted = message.restarted
            return Restarted(_ROLES.get(restarted.role, SLM), restarted.tokens, restarted.epoch)
        case "completed":
            return Completed(message.completed)
    return None


def _scored(message: tandem_pb2.Scored) -> Scored:
    score = message.score if message.HasField("score") else None
    return Scored(message.stage, score, message.threshold, message.sufficient, message.scorer, message.trained)


def _checked(message: tandem_pb2.CheckResult) -> Checked:
    return Checked(
        message.name,
        message.stage,
        _ROLES.get(message.role, SLM),
        _VERDICTS.get(message.verdict, Verdict.UNKNOWN),
        message.detail,
        message.score,
        message.seconds,
        message.trial,
    )


def _llm_stopped(message: tandem_pb2.LlmStopped) -> LlmStopped:
    name = tandem_pb2.StopReason.Name(message.reason).removeprefix("STOP_REASON_").lower()
    return LlmStopped(name, message.cancel_latency_ms, message.overrun_tokens)
