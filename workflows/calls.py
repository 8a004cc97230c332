"""How the workflow calls its activities: long ones that a cancel reaches, and short local ones on the request log."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.converter import value_to_type
from temporalio.exceptions import ActivityError, ApplicationError, FailureError

with workflow.unsafe.imports_passed_through():
    from tandem.method.request.tasks import LostUsage, LostUsageTask, StopOrder
    from tandem.method.timeouts import Timeouts
    from tandem.method.tokens import TokenCounts
    from workflows.activities.publishing import PublishingActivities
    from workflows.activities.usage import LostUsageActivities
    from workflows.request_state import RequestState

T = TypeVar("T")
ONCE = RetryPolicy(maximum_attempts=1)
NO_LOG = "the request log did not answer"
# Attempts of every activity begin at 1, epochs of one stream must rise: each trial has a range of its own, and so has
# the fallback answer within it.
TRIAL_EPOCHS = 10_000
FALLBACK_EPOCH = 1000
_ALL_EPOCHS = 1_000_000
_OPTIONS: dict[str, Any] = {
    "start_to_close_timeout": Timeouts.attempt,
    "schedule_to_close_timeout": Timeouts.activity,
    "heartbeat_timeout": Timeouts.heartbeat,
    "cancellation_type": workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
}


class ActivityCalls:
    """All activities of one request, so that a cancel finds those that run. `num_actions`: what Temporal bills for them
    and for timers.
    """

    def __init__(self, state: RequestState) -> None:
        self._state = state
        self._handles: list[workflow.ActivityHandle[Any]] = []
        self.num_actions = 0

    def start(self, activity: Any, *arguments: Any, **options: Any) -> workflow.ActivityHandle[Any]:
        self.num_actions += 1
        handle = workflow.start_activity_method(activity, args=arguments, **{**_OPTIONS, **options})
        self._handles.append(handle)
        return handle

    async def wait(self, handle: workflow.ActivityHandle[Any], at_most: timedelta) -> None:
        """Until it ends, or the time is over."""
        self.num_actions += 1  # a timer
        await workflow.wait([handle], timeout=at_most.total_seconds())

    async def cancel_all(self) -> None:
        await cancel(*self._handles)

    async def locally(self, activity: Any, *arguments: Any, timeout: timedelta = Timeouts.local_attempt) -> Any:
        """A local activity on the request log, or None where the log does not answer: the other ways still work."""
        self.num_actions += 1
        try:
            return await workflow.execute_local_activity_method(
                activity, args=arguments, schedule_to_close_timeout=timeout, retry_policy=ONCE
            )
        except FailureError as error:  # a local activity's comes without its wrapper
            workflow.logger.warning("the request log does not answer: %s", cause_of(error))
            return None

    async def publish_stop_of_trial(self, decided_at: datetime, number: int) -> None:
        epoch = (number + 1) * TRIAL_EPOCHS - 1
        order = StopOrder(self._state.input.request_id, None, epoch, decided_at.timestamp())
        await self.locally(PublishingActivities.publish_stop, order)

    async def publish_stop(self, decided_at: datetime, *, insight: bool = False, answer: bool = False) -> None:
        epoch = max((score.epoch for score in self._state.scores), default=1)
        order = StopOrder(
            self._state.input.request_id,
            insight_epoch=epoch if insight else None,
            answer_epoch=_ALL_EPOCHS if answer else None,
            decided_at=decided_at.timestamp(),
            beside=tuple(self._state.plan.trial.order[1:]) if self._state.plan.trial.agree else (),
        )
        await self.locally(PublishingActivities.publish_stop, order)

    async def lost_usage(self, error: ActivityError, role: str, trial: int = 0) -> TokenCounts:
        """Counts of a role whose every attempt at the text number `trial` failed: from the request log, or from the
        service's own error.
        """
        reported = detail_of(error, TokenCounts) or TokenCounts()
        return await self.settled(reported, role, trial, self._state.input.request_id)

    async def settled(self, reported: TokenCounts, role: str, trial: int, request_id: str) -> TokenCounts:
        """The same, where the service has `reported` so much. Of an API they are an estimate: a lost attempt has no
        usage.
        """
        plan = self._state.plan
        model, source = plan.models[role], self._state.input
        repeated = None if source.is_limited_in_usd else source.request.repeated_share
        repeated = repeated if model.is_api else 0.0
        task = LostUsageTask(request_id, role, model.name, reported, model.prices, trial, repeated)
        self.num_actions += 1
        try:
            lost: LostUsage = await workflow.execute_activity_method(
                LostUsageActivities.settle_lost_usage,
                task,
                start_to_close_timeout=Timeouts.local_attempt,
                retry_policy=ONCE,
            )
        except ActivityError as unsettled:
            self._state.note_lost_tokens(role, NO_LOG)
            return self._of_lost(detail_of(unsettled, TokenCounts) or reported, role)
        if not lost.is_complete:
            self._state.note_lost_tokens(role, "its last attempt did not tell all its tokens")
        return self._of_lost(lost.counts, role)

    def _of_lost(self, counts: TokenCounts, role: str) -> TokenCounts:
        return replace(counts, is_estimated=self._state.plan.models[role].is_api and counts.computed > 0)


async def results_in_hand() -> None:
    """Let each result that came with this step of the workflow reach its handle: that takes two turns of the event
    loop.

    A handle that is cancelled before that raises asyncio.CancelledError, and its result is lost (temporalio's workflow
    logic flag RAISE_ON_CANCELLING_COMPLETED_ACTIVITY).
    """
    for _ in range(2):
        await asyncio.sleep(0)


async def cancel(*handles: workflow.ActivityHandle[Any]) -> None:
    """Cancel those that have no result yet."""
    await results_in_hand()
    for handle in handles:
        handle.cancel()


def cause_of(error: FailureError) -> str:
    """The message of what caused it, without the type that Temporal puts before it."""
    cause = error.cause or error
    return cause.message if isinstance(cause, FailureError) and cause.message else str(cause)


def detail_of(error: ActivityError, kind: type[T]) -> T | None:
    """The detail of type `kind` that the last attempt's error carries."""
    cause = error.cause
    if not isinstance(cause, ApplicationError) or not cause.details:
        return None
    detail = cause.details[0]
    return value_to_type(kind, detail) if isinstance(detail, dict) else None
