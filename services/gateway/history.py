"""The timeline of a request, from the events of its workflow's history."""

from __future__ import annotations

from collections.abc import AsyncIterable
from dataclasses import replace
from typing import Any

from temporalio.api.history.v1 import HistoryEvent
from temporalio.converter import DataConverter

from tandem.method.errors import FailedPrecondition
from tandem.method.names import LLM_ACTIVITY
from tandem.method.request.timeline import StepOutcome, Timeline, TimelineStep

_ENDS = {
    "activity_task_completed_event_attributes": StepOutcome.COMPLETED,
    "activity_task_failed_event_attributes": StepOutcome.FAILED,
    "activity_task_canceled_event_attributes": StepOutcome.CANCELLED,
    "activity_task_timed_out_event_attributes": StepOutcome.TIMED_OUT,
}
_STAGELESS = LLM_ACTIVITY  # it writes all of them
# A wait that is cancelled completes: it tells what was prefilled meanwhile.
_WAITS = frozenset({"wait_and_score", "wait_for_stage"})
_WORKFLOW_ENDS = frozenset(
    f"workflow_execution_{end}_event_attributes"
    for end in ("completed", "failed", "timed_out", "canceled", "terminated")
)


async def read_timeline(events: AsyncIterable[HistoryEvent], converter: DataConverter) -> Timeline:
    """`converter` reads an activity's input, which tells its stage."""
    began: float | None = None
    now, duration, taken = 0.0, None, None
    steps: dict[int, TimelineStep] = {}
    cancelled: set[int] = set()
    async for event in events:
        at = event.event_time.ToMicroseconds() / 1000
        began = at if began is None else began
        now = at - began
        kind = event.WhichOneof("attributes") or ""
        attributes: Any = getattr(event, kind, None)
        if kind == "activity_task_scheduled_event_attributes":
            name = attributes.activity_type.name
            stage = None if name == _STAGELESS else await _stage(attributes, converter)
            steps[event.event_id] = TimelineStep(name, stage, now)
        elif kind == "activity_task_started_event_attributes":
            step = steps[attributes.scheduled_event_id]
            steps[attributes.scheduled_event_id] = replace(step, started=now, attempts=attributes.attempt)
        elif kind == "activity_task_cancel_requested_event_attributes":
            cancelled.add(attributes.scheduled_event_id)
        elif kind in _ENDS:
            step = steps[attributes.scheduled_event_id]
            is_cut = step.name in _WAITS and attributes.scheduled_event_id in cancelled
            outcome = StepOutcome.CANCELLED if is_cut else _ENDS[kind]
            steps[attributes.scheduled_event_id] = replace(step, ended=now, outcome=outcome)
        elif kind == "workflow_task_started_event_attributes":
            taken = now if taken is None else taken
        elif kind in _WORKFLOW_ENDS:
            duration = now
    return Timeline(began or 0.0, duration, taken, tuple(steps.values()))


async def _stage(scheduled: Any, converter: DataConverter) -> int | None:
    """Return the stage of a ModelTask; None for another input, or one whose key is gone."""
    try:
        [task, *_] = await converter.decode(scheduled.input.payloads)
    except (FailedPrecondition, ValueError, KeyError):
        return None
    stage = task.get("stage") if isinstance(task, dict) else None
    return stage if isinstance(stage, int) else None
