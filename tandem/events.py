"""The events of a request, in the order in which they happen. `completed` is the last one.

Each class has a `kind`, the name of its field in the message SolveEvent, so that a program can use either:

    match event:
        case AnswerDelta():
            print(event.text, end="")
        case Completed():
            print(event.result.cost.usd)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from tandem.v1 import tandem_pb2

Role = Literal["llm", "slm"]


@dataclass(frozen=True, slots=True)
class Accepted:
    """The request has begun, or was joined. `stages`: how many the large model may generate."""

    kind: ClassVar[Literal["accepted"]] = "accepted"
    request_id: str
    trace_id: str  # W3C, 32 hexadecimal digits
    profile: str
    stages: int

    @classmethod
    def from_pb(cls, message: tandem_pb2.Accepted) -> Self:
        return cls(message.request_id, message.trace_id, message.profile, message.stages)


@dataclass(frozen=True, slots=True)
class InsightDelta:
    """Text of the large model. `tokens`: insight tokens so far, this delta included."""

    kind: ClassVar[Literal["insight_delta"]] = "insight_delta"
    text: str
    tokens: int

    @classmethod
    def from_pb(cls, message: tandem_pb2.InsightDelta) -> Self:
        return cls(message.text, message.tokens)


@dataclass(frozen=True, slots=True)
class StageCompleted:
    """The large model has generated stage `stage` (from 1); `tokens`: insight tokens up to its end."""

    kind: ClassVar[Literal["stage_completed"]] = "stage_completed"
    stage: int
    name: str
    tokens: int

    @classmethod
    def from_pb(cls, message: tandem_pb2.StageCompleted) -> Self:
        return cls(message.stage, message.name, message.tokens)


@dataclass(frozen=True, slots=True)
class Scored:
    """A stage's sufficiency, 0..1. Stage 0 is the bare question. `score` is None when the scorer failed.

    `is_trained` is False when the score comes from an untrained rule.
    """

    kind: ClassVar[Literal["scored"]] = "scored"
    stage: int
    score: float | None
    threshold: float
    is_sufficient: bool
    scorer: str
    is_trained: bool

    @classmethod
    def from_pb(cls, message: tandem_pb2.Scored) -> Self:
        score = message.score if message.HasField("score") else None
        return cls(message.stage, score, message.threshold, message.sufficient, message.scorer, message.trained)


@dataclass(frozen=True, slots=True)
class LlmStopped:
    """The large model was stopped. `reason` as in `tandem ask --json`, such as "sufficient".

    `cancel_latency_ms`: from the decision until the engine ended the sequence. `overrun_tokens`: generated in that time.
    """

    kind: ClassVar[Literal["llm_stopped"]] = "llm_stopped"
    reason: str
    cancel_latency_ms: float
    overrun_tokens: int

    @classmethod
    def from_pb(cls, message: tandem_pb2.LlmStopped) -> Self:
        reason = tandem_pb2.StopReason.Name(message.reason).removeprefix("STOP_REASON_").lower()
        return cls(reason, message.cancel_latency_ms, message.overrun_tokens)


@dataclass(frozen=True, slots=True)
class AnswerDelta:
    """Text of the small model. `tokens`: answer tokens so far, this delta included."""

    kind: ClassVar[Literal["answer_delta"]] = "answer_delta"
    text: str
    tokens: int

    @classmethod
    def from_pb(cls, message: tandem_pb2.AnswerDelta) -> Self:
        return cls(message.text, message.tokens)


@dataclass(frozen=True, slots=True)
class Restarted:
    """A process died and another took over: discard the role's text after `tokens`; it is sent again.

    `attempt`: number of the new attempt, from 2.
    """

    kind: ClassVar[Literal["restarted"]] = "restarted"
    role: Role
    tokens: int
    attempt: int

    @classmethod
    def from_pb(cls, message: tandem_pb2.Restarted) -> Self:
        return cls("llm" if message.role == tandem_pb2.ROLE_LLM else "slm", message.tokens, message.epoch)


@dataclass(frozen=True, slots=True)
class Completed:
    """Answer, stop, usage and bill. `tandem.to_dict(event.result)` is what `tandem ask --json` prints."""

    kind: ClassVar[Literal["completed"]] = "completed"
    result: tandem_pb2.SolveResult

    @classmethod
    def from_pb(cls, message: tandem_pb2.SolveResult) -> Self:
        return cls(message)


Event = Accepted | InsightDelta | StageCompleted | Scored | LlmStopped | AnswerDelta | Restarted | Completed


_CLASSES = {
    each.kind: each
    for each in (Accepted, InsightDelta, StageCompleted, Scored, LlmStopped, AnswerDelta, Restarted, Completed)
}


def from_pb(event: tandem_pb2.SolveEvent) -> Event | None:
    """None for an event that this version of the client does not know."""
    kind = event.WhichOneof("event")
    if kind not in _CLASSES:
        return None
    convert: Callable[[Any], Event] = _CLASSES[kind].from_pb
    return convert(getattr(event, kind))
