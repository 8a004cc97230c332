"""A batch: thousands of requests from a file, asked with bounded concurrency and one budget. What its workflow
carries.
"""

# No `from __future__ import annotations`: see tandem.method.request.request.
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tandem.method.request.job import Job

PAGE_SIZE = 100
"""Requests that are read and written together."""


class BatchState(StrEnum):
    RUNNING = "running"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    BUDGET_EXHAUSTED = "budget_exhausted"
    EXPIRED = "expired"
    FAILED = "failed"


UNASKED = {
    BatchState.CANCELLED: "batch_cancelled",
    BatchState.BUDGET_EXHAUSTED: "budget_exhausted",
    BatchState.EXPIRED: "batch_expired",
}
"""Why a request was never asked, by how its batch ended: a code as in OpenAI's error files."""


@dataclass(frozen=True)
class BatchProgress:
    """What became of the requests so far. `usd` is what those that have ended cost, None where
    the price of a model is not known; `next_page` the first that is not written."""

    state: BatchState = BatchState.RUNNING
    answered: int = 0
    failed: int = 0
    cancelled: int = 0
    unasked: int = 0
    running: int = 0
    usd: float | None = 0.0
    next_page: int = 0
    ended_at: float = 0.0
    has_output: bool = False
    has_errors: bool = False
    error: str = ""


@dataclass(frozen=True)
class BatchTask:
    """The workflow's input. `folder` of the file store holds the batch; `deadline` is Unix time in seconds, 0: none."""

    batch_id: str
    folder: str
    profile: str
    total: int
    concurrency: int
    max_cost_usd: float | None = None
    deadline: float = 0.0
    progress: BatchProgress = field(default_factory=BatchProgress)

    @property
    def num_pages(self) -> int:
        return -(-self.total // PAGE_SIZE)


@dataclass(frozen=True)
class AdmittedLine:
    """One line of the input that was admitted. `form` is `openai` or `plain`, and so will its answer be; `metadata` is
    repeated in it.

    `usd_at_most` bounds its bill, attempts that are lost left out. `memo` goes with its workflow, and so does
    `fairness_key`, by which work takes turns in Temporal's queues; empty: it does not.
    """

    number: int
    custom_id: str
    form: str
    metadata: dict[str, str]
    usd_at_most: float
    input: Job
    memo: dict[str, Any]
    fairness_key: str = ""


@dataclass(frozen=True)
class AskTask:
    """The request at `index` of a page."""

    batch_id: str
    folder: str
    page: int
    index: int


@dataclass(frozen=True)
class AskOutcome:
    """What became of one request, and its bill.

    `kind` is `answered`, `failed`, `cancelled`, `unasked`, or `refused` because its id is another request's.
    """

    kind: str
    usd: float | None = 0.0


@dataclass(frozen=True)
class StoreTask:
    """Write what became of a page's requests: `kinds` as in AskOutcome. Those that are missing there were not asked
    either, for the reason `unasked`.
    """

    folder: str
    page: int
    kinds: list[str]
    unasked: str = ""


@dataclass(frozen=True)
class FinishTask:
    """Join the pages into the batch's files. From `progress.next_page` on no request was asked, for the reason
    `unasked`.
    """

    batch_id: str
    folder: str
    num_pages: int
    progress: BatchProgress
    unasked: str = ""
