"""What a request came to: answer, stop, stages, token counts, cost, timings."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from tandem.method.evidence.checks import CheckResult, Trial
from tandem.method.profile.prices import total
from tandem.method.request.job import Job
from tandem.method.tokens import TokenCounts
from tandem.method.tools import ToolCall


class StopReason(StrEnum):
    SUFFICIENT = "sufficient"
    BEST_STAGE = "best_stage"
    LLM_FINISHED = "llm_finished"
    BUDGET = "budget"
    LLM_UNAVAILABLE = "llm_unavailable"
    SCORER_FAILED_OPEN = "scorer_failed_open"
    CANCELLED = "cancelled"
    VERIFIED = "verified"
    UNVERIFIED_BEST = "unverified_best"


@dataclass(frozen=True)
class Stop:
    """Stage whose insight the answer came from (0: none) and why; the score is None where it was not scored.

    Of the large model's own answer the stage is the last one that it had written.
    """

    stage: int
    reason: StopReason
    score: float | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class StageResult:
    stage: int
    name: str
    tokens: int
    score: float | None
    threshold: float
    scorer: str
    trained: bool


Usage = dict[str, TokenCounts]
"""By role, in the order of a bill: each role of the plan."""


@dataclass(frozen=True)
class Cost:
    """USD, TFLOPs and device seconds (docs/method.md, Cost). The `llm_alone` figures are estimates unless
    `llm_alone_is_exact`; `usd_llm_alone_low` and `_high` are the 95 % interval of such an estimate, None where none is
    known.
    USD are None where the price of a model that was used is not known: such a request did not cost nothing.

    `saved_ratio` is None without a complete answer, and where a budget ended what the large model wrote. `seconds` is
    None where the profile has no measured rates; `check_seconds`, part of it, is the checks' processor time.
    """

    usd: float | None
    usd_by_role: dict[str, float | None]
    usd_llm_alone: float | None
    saved_ratio: float | None
    tflops_paper: float
    tflops_full: float
    tflops_llm_alone: float
    price_version: str
    usd_overrun: float | None = 0.0
    seconds: float | None = None
    seconds_llm_alone: float | None = None
    check_seconds: float = 0.0
    llm_alone_is_exact: bool = False
    usd_llm_alone_low: float | None = None
    usd_llm_alone_high: float | None = None


@dataclass(frozen=True)
class Timings:
    """Milliseconds."""

    total: float
    first_insight: float | None
    decision: float | None
    cancel: float | None
    first_answer_token: float | None


@dataclass(frozen=True)
class Overhead:
    """What the orchestration took, until the result was published: Temporal's billable actions, heartbeats and repeated
    attempts of short activities apart, and the events and bytes of the request's history.
    """

    temporal_actions: int = 0
    temporal_events: int = 0
    history_bytes: int = 0


@dataclass(frozen=True)
class SolveResult:
    """The message tandem.v1.SolveResult, and the last event. `models`: names by role; `answered_by`: a role, empty
    without an answer. `text`: what a reader is shown, empty where that is `answer`.
    """

    kind: ClassVar[str] = "completed"
    request_id: str
    profile: str
    question: str
    answer: str
    reasoning: str
    stop: Stop
    stages: list[StageResult]
    models: dict[str, str]
    usage: Usage
    cost: Cost
    timings_ms: Timings
    trace_id: str
    attempts: int
    complete: bool
    notes: list[str]
    checks: list[CheckResult] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)
    answered_by: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)
    policy_step: int = 0
    overhead: Overhead = field(default_factory=Overhead)
    answered_calls: list[ToolCall] = field(default_factory=list)
    text: str = ""


@dataclass(frozen=True)
class Served:
    """What a request was answered with. `usd_llm_alone`: what the large model alone would have cost, by estimate.
    `score`: of the stage that was answered from.
    """

    answer: str
    calls: list[ToolCall]
    usd: float | None
    usd_llm_alone: float | None
    score: float | None = None


@dataclass(frozen=True)
class ShadowInput:
    """A request that was served, which the large model is to answer alone."""

    job: Job
    served: Served
    llm_finished: TokenCounts | None = None  # what the large model's own answer took, where it had answered by itself


@dataclass(frozen=True)
class ShadowResult:
    """The message tandem.v1.Shadow."""

    answer: str
    agrees: bool
    usd: float | None
    usd_paid: float | None
    usd_served: float | None
    usd_estimate: float | None
    output_tokens: int
    lost: float | None = None
    compared_by: str = ""
    usd_judge: float | None = 0.0

    @property
    def usd_beside(self) -> float | None:
        """What was paid in addition to the request; None: a price is not known."""
        return total(self.usd_paid, self.usd_judge)
