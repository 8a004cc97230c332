"""What happens to a request, event by event: field by field the messages of tandem.v1.SolveEvent."""

from dataclasses import dataclass

from tandem.method.result import SolveResult, StopReason


@dataclass(frozen=True, slots=True)
class InsightDelta:
    """`tokens` counts the insight up to the end of `text`."""

    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class AnswerDelta:
    """`tokens` counts the answer up to the end of `text`."""

    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class StageCompleted:
    stage: int
    name: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Restarted:
    """An attempt was lost: what follows `tokens` of the role's stream is void. `role` is llm or slm."""

    role: str
    tokens: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Scored:
    """`score` is None when the scorer failed."""

    stage: int
    score: float | None
    threshold: float
    sufficient: bool
    scorer: str
    trained: bool


@dataclass(frozen=True, slots=True)
class LlmStopped:
    """Milliseconds from the decision to the end of the computation; None when the model ended by itself."""

    reason: StopReason
    cancel_latency_ms: float | None
    overrun_tokens: int


Decision = Scored | LlmStopped | SolveResult
"""What the worker publishes."""
SolveEvent = InsightDelta | AnswerDelta | StageCompleted | Restarted | Decision
