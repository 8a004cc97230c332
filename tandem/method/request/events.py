"""The events of a request in the order in which they happen: field by field the messages of tandem.v1.SolveEvent.

Each class has a `kind`, the name of its field in the message.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from tandem.method.evidence.checks import CheckResult
from tandem.method.request.result import SolveResult


class AnswerText(StrEnum):
    """The enum tandem.v1.AnswerText. `unspecified`: only the result says it; `message`: the same, but for what the
    large model has `said`, and deltas are in the models' formats.
    """

    UNSPECIFIED = "unspecified"
    INSIGHT = "insight"
    CONTINUATION = "continuation"
    ANSWER = "answer"
    MESSAGE = "message"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The request has begun, or was joined. `stages`: how many the large model may write. `trace_id`: 32 hex digits
    (W3C).

    `answer_text`: where the answer's text comes from. `session`: which one it is a turn of, and what that has cost
    before, in USD; None where that is not known. `native`: the large model's API is sent the request's own body,
    without what is `dropped`. `tells_effort`: it is behind an API, which is told the request's effort.
    """

    kind: ClassVar[str] = "accepted"
    request_id: str
    trace_id: str
    profile: str
    stages: int
    answer_text: AnswerText = AnswerText.UNSPECIFIED
    session: str = ""
    session_usd: float | None = None
    native: bool = False
    tells_effort: bool = False
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InsightDelta:
    """Text of the large model; `tokens` counts the insight up to its end. `said`: where it may call tools, how many
    characters of all its text so far are text for sure. `native`: what its API sent meanwhile, each event as JSON,
    where the request's own body was passed on.
    """

    kind: ClassVar[str] = "insight_delta"
    text: str
    tokens: int
    said: int = 0
    native: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AnswerDelta:
    """Text of the small model; `tokens` counts the answer up to its end. `said`: where it may call tools, how many
    characters of all its text so far are text for sure.
    """

    kind: ClassVar[str] = "answer_delta"
    text: str
    tokens: int
    said: int = 0


@dataclass(frozen=True, slots=True)
class StageCompleted:
    """The large model has written stage `stage` (from 1); `tokens` counts the insight up to its end."""

    kind: ClassVar[str] = "stage_completed"
    stage: int
    name: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Restarted:
    """An attempt was lost and another continues, or another trial begins: discard the role's text after `tokens`.

    `role` is llm or slm; `epoch` the new attempt, from 2.
    """

    kind: ClassVar[str] = "restarted"
    role: str
    tokens: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Scored:
    """A stage's sufficiency, 0..1; stage 0 is the bare question. `score` is None when the scorer failed.

    Not `trained`: the score comes from an untrained rule.
    """

    kind: ClassVar[str] = "scored"
    stage: int
    score: float | None
    threshold: float
    sufficient: bool
    scorer: str
    trained: bool


@dataclass(frozen=True)
class Checked(CheckResult):
    """A check of an answer, as it is made."""

    kind: ClassVar[str] = "checked"


@dataclass(frozen=True, slots=True)
class LlmStopped:
    """The large model was stopped. `reason` is a StopReason. Milliseconds from the decision to the end of its
    computation, None when it ended by itself; `overrun_tokens` were generated in that time.
    """

    kind: ClassVar[str] = "llm_stopped"
    reason: str
    cancel_latency_ms: float | None
    overrun_tokens: int


Decision = Scored | Checked | LlmStopped | SolveResult
"""What the worker publishes."""
SolveEvent = InsightDelta | AnswerDelta | StageCompleted | Restarted | Decision
