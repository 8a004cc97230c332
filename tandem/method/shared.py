"""What the workflow, its activities, the gateway and the worker agree on: messages, queues, timeouts, names."""

# Annotations are evaluated here, once, and not at each message: Temporal reads the types of each field it decodes, and
# strings would be compiled anew every time, a tenth of a worker's time.
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any, Self

from tandem.method.prices import RolePrices
from tandem.method.sampling import Sampling

SHADOW_WORKFLOW = "Shadow"
SOLVE_WORKFLOW = "Solve"
# Search attributes of Temporal, by the name under which `tandem request list --where` knows them.
SEARCH_ATTRIBUTES = {
    "cost": "TandemCostUsd",
    "saved": "TandemSavedRatio",
    "stage": "TandemStopStage",
    "reason": "TandemStopReason",
    "profile": "TandemProfile",
    "tenant": "TandemTenant",
}
CANCEL_SIGNAL = "cancel"


def solve_queue(profile: str) -> str:
    """Workflows, scoring and answering of one profile."""
    return f"tandem-{profile}"


def llm_queue(profile: str) -> str:
    """The large model's activities: few slots, one for each sequence that the pool can run."""
    return f"tandem-{profile}-llm"


class Timeouts:
    """All timeouts, each inside the next: call < attempt < activity < workflow < client deadline.

    A call is one RPC to a service; an attempt one try of an activity; an activity all its tries together.
    """

    score_call = timedelta(seconds=60)
    stop_call = timedelta(seconds=2)
    heartbeat = timedelta(seconds=5)
    heartbeat_interval = timedelta(seconds=1)  # each is a call to Temporal for each running activity
    retry_interval = timedelta(milliseconds=250)
    local_attempt = timedelta(seconds=3)
    attempt = timedelta(minutes=8)
    activity = timedelta(minutes=10)
    workflow = timedelta(minutes=14)
    client_deadline = timedelta(minutes=15)


class StopReason(StrEnum):
    SUFFICIENT = "sufficient"
    BEST_STAGE = "best_stage"
    LLM_FINISHED = "llm_finished"
    BUDGET = "budget"
    LLM_UNAVAILABLE = "llm_unavailable"
    SCORER_FAILED_OPEN = "scorer_failed_open"
    CANCELLED = "cancelled"


# -- the request ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StagePlan:
    name: str
    max_tokens: int
    threshold: float


@dataclass(frozen=True)
class Prices:
    version: str
    llm: RolePrices
    slm: RolePrices
    scorer: RolePrices


@dataclass(frozen=True)
class Plan:
    """What the profile says about this request. It travels with the request, so a later profile changes nothing of it."""

    profile: str
    handoff: str
    llm: str
    slm: str
    llm_parameters: float
    slm_parameters: float
    stages: list[StagePlan]
    scores_stage_zero: bool
    stage_zero_threshold: float
    answer_max_tokens: int
    answer_format: str
    prices: Prices
    llm_alone_output_tokens: float
    shadow_share: float = 0.0
    llm_finishes: bool = False  # where no stage suffices
    task: str = "answer"  # or "code": which of the profile's prompts
    reads_ahead: bool = False
    away_seconds: float = 8.0  # how long a small model that is away is waited for


@dataclass(frozen=True)
class Budget:
    max_cost_usd: float | None = None
    max_llm_tokens: int | None = None


@dataclass(frozen=True)
class SolveInput:
    request_id: str
    question: str
    question_tokens: int
    plan: Plan
    budget: Budget = field(default_factory=Budget)
    sampling: Sampling = field(default_factory=Sampling)
    trace_id: str = ""
    tenant: str = ""
    is_searchable: bool = False  # the namespace has our search attributes


# -- activities -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RoleUsage:
    """Tokens of one role by state (protos/tandem/v1/tandem.proto, TokenUsage)."""

    model: str = ""
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    overrun_tokens: int = 0
    discarded_tokens: int = 0

    def plus_lost(self, lost: Self) -> Self:
        """This, and what lost attempts read and made for nothing."""
        return replace(
            self,
            input_tokens=self.input_tokens + lost.input_tokens,
            cached_input_tokens=self.cached_input_tokens + lost.cached_input_tokens,
            discarded_tokens=self.discarded_tokens + lost.discarded_tokens,
        )


@dataclass(frozen=True)
class ScoreTask:
    request_id: str
    question: str
    stage: int
    threshold: float
    profile: str
    prices: RolePrices = field(default_factory=RolePrices)
    task: str = "answer"


@dataclass(frozen=True)
class StageScore:
    """`score` is None when the insight ended before the stage did (`ended`), or when the scorer failed."""

    stage: int
    tokens: int = 0
    score: float | None = None
    epoch: int = 1
    ended: bool = False
    scorer: str = ""
    trained: bool = False
    tokens_scored: int = 0
    tokens_cached: int = 0
    request_scored: int = 0  # of every pass so far, as the request log has it
    request_cached: int = 0


@dataclass(frozen=True)
class AheadTask:
    """Let the small model read what an answer from `stage` would begin with."""

    request_id: str
    question: str
    stage: int
    prices: RolePrices = field(default_factory=RolePrices)
    task: str = "answer"


@dataclass(frozen=True)
class AheadOutcome:
    """Tokens that one pass has computed and found computed, and those of all passes so far, as the request log has them."""

    input_tokens: int = 0
    cached_input_tokens: int = 0
    request_input_tokens: int = 0
    request_cached_input_tokens: int = 0


@dataclass(frozen=True)
class InsightTask:
    request_id: str
    question: str
    caps: list[int]
    sampling: Sampling
    profile: str
    prices: RolePrices = field(default_factory=RolePrices)
    alone: bool = False
    task: str = "answer"


@dataclass(frozen=True)
class InsightOutcome:
    """`reason` is eos, length or aborted. Times are Unix seconds. `is_estimated`: the usage, of an API that was cut off."""

    reason: str
    text: str
    tokens: int
    usage: RoleUsage
    halted_at: float
    first_token_at: float | None
    attempt: int
    is_estimated: bool = False


@dataclass(frozen=True)
class AnswerTask:
    request_id: str
    question: str
    stage: int
    max_tokens: int
    sampling: Sampling
    profile: str
    base_epoch: int = 0
    prices: RolePrices = field(default_factory=RolePrices)
    task: str = "answer"


@dataclass(frozen=True)
class AnswerOutcome:
    """`continued` is the insight that the text goes on from, in continuation mode."""

    reason: str
    text: str
    usage: RoleUsage
    first_token_at: float | None
    attempt: int
    is_logged: bool
    continued: str = ""


@dataclass(frozen=True)
class StopOrder:
    """Halt the roles of a request that run under `epoch` or an older one. `decided_at` is Unix seconds."""

    request_id: str
    insight_epoch: int | None
    answer_epoch: int | None
    decided_at: float


@dataclass(frozen=True)
class LossTask:
    """Settle a role whose every attempt failed; `spent` is what its service said in its last words."""

    request_id: str
    role: str
    model: str
    spent: RoleUsage
    prices: RolePrices


@dataclass(frozen=True)
class Announcement:
    """An entry for `{id}:decisions`; a slot is written once."""

    request_id: str
    slot: int
    kind: str
    payload: dict[str, Any]


SLOT_LLM_STOPPED = 1_000_000
SLOT_COMPLETED = 1_000_001


# -- the result -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stop:
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


@dataclass(frozen=True)
class Usage:
    llm: RoleUsage
    slm: RoleUsage
    scorer: RoleUsage


@dataclass(frozen=True)
class UsdByRole:
    llm: float
    slm: float
    scorer: float


@dataclass(frozen=True)
class Cost:
    usd: float
    usd_by_role: UsdByRole
    usd_llm_alone: float
    saved_ratio: float
    tflops_paper: float
    tflops_full: float
    tflops_llm_alone: float
    price_version: str
    usd_overrun: float = 0.0


@dataclass(frozen=True)
class Timings:
    """Milliseconds."""

    total: float
    first_insight: float | None
    decision: float | None
    cancel: float | None
    first_answer_token: float | None


@dataclass(frozen=True)
class SolveResult:
    """Field by field the message tandem.v1.SolveResult."""

    request_id: str
    profile: str
    question: str
    answer: str
    reasoning: str
    stop: Stop
    stages: list[StageResult]
    usage: Usage
    cost: Cost
    timings_ms: Timings
    trace_id: str
    attempts: int
    complete: bool
    notes: list[str]


# -- the shadow -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ShadowInput:
    """A request that was served, which the large model is to answer alone."""

    request_id: str
    question: str
    plan: Plan
    sampling: Sampling
    served_answer: str
    served_usd: float
    estimate_usd: float
    llm_finished: RoleUsage | None = None  # the large model's own tokens, where it had answered by itself


@dataclass(frozen=True)
class ShadowResult:
    """Field by field the message tandem.v1.Shadow."""

    answer: str
    agrees: bool
    usd: float
    usd_paid: float
    usd_served: float
    usd_estimate: float
    output_tokens: int


def shadow_id(request_id: str) -> str:
    return f"{request_id}.shadow"
