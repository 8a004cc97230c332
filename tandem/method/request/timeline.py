"""What a request did and when, as Temporal's history of its workflow has it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class StepOutcome(StrEnum):
    """The enum tandem.v1.StepOutcome."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


@dataclass(frozen=True, slots=True)
class TimelineStep:
    """The message tandem.v1.Step; times in milliseconds since the request's start."""

    name: str
    stage: int | None
    scheduled: float
    attempts: int = 1
    started: float | None = None
    ended: float | None = None
    outcome: StepOutcome = StepOutcome.RUNNING


@dataclass(frozen=True, slots=True)
class Timeline:
    """`started_at`: Unix time in milliseconds; `duration`: milliseconds, None while the request runs; `taken`: when a
    worker took it.
    """

    started_at: float
    duration: float | None
    taken: float | None
    steps: tuple[TimelineStep, ...]
