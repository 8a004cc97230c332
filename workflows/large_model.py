"""The large model of one request: start it, see how it stands, stop it and take its exact usage."""

from __future__ import annotations

import asyncio

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from tandem.method.conversation import Message
    from tandem.method.names import llm_queue
    from tandem.method.request.events import LlmStopped
    from tandem.method.request.job import Step
    from tandem.method.request.result import StopReason
    from tandem.method.request.tasks import GenerationOutcome
    from tandem.method.roles import LLM
    from tandem.method.timeouts import Timeouts
    from workflows.activities.attempts import unavailable_retry_policy
    from workflows.activities.models import InsightActivities
    from workflows.activities.publishing import PublishingActivities
    from workflows.calls import ActivityCalls, cause_of, results_in_hand
    from workflows.request_state import RequestState

_ABORTED = "it was aborted, and not by this request"
_MAX_ATTEMPTS = 4
_RETRY = RetryPolicy(initial_interval=Timeouts.retry_interval, backoff_coefficient=2.0, maximum_attempts=_MAX_ATTEMPTS)


class LargeModel:
    def __init__(self, state: RequestState, calls: ActivityCalls) -> None:
        self._state, self._calls = state, calls
        self.handle: workflow.ActivityHandle[GenerationOutcome] | None = None
        self._lost: ActivityError | None = None

    def start(self, step: Step) -> None:
        queue = llm_queue(step.profile)
        patience = self._state.plan.llm_patience_seconds
        retry = unavailable_retry_policy(patience) if patience else _RETRY
        self.handle = self._calls.start(InsightActivities.generate_insight, step, retry_policy=retry, task_queue=queue)

    @property
    def has_succeeded(self) -> bool:
        """It ended by itself or at its cap; one that was aborted, and not by this request, has failed."""
        handle = self.handle
        if handle is None or not handle.done() or handle.cancelled() or handle.exception() is not None:
            return False
        return handle.result().reason != "aborted"

    @property
    def has_failed(self) -> bool:
        return self.handle is not None and self.handle.done() and not self.has_succeeded

    @property
    def failure(self) -> FailureError:
        """What it failed with; it has failed."""
        assert self.handle is not None
        error = None if self.handle.cancelled() else self.handle.exception()
        return error if isinstance(error, FailureError) else ApplicationError(_ABORTED)

    @property
    def has_answered(self) -> bool:
        """In continuation mode a large model that ended by itself has given its answer."""
        if self._state.plan.handoff != "continuation" or self.handle is None or not self.has_succeeded:
            return False
        return self.handle.result().reason == "eos"

    @property
    def last_stage(self) -> int:
        """The last one that it has written to its end, 0: none; it has succeeded, in continuation mode."""
        assert self.handle is not None
        counts = self.handle.result().counts
        return sum(stage.max_tokens <= counts.completion for stage in self._state.plan.stages)

    @property
    def text(self) -> str:
        """What it wrote; it has succeeded."""
        assert self.handle is not None
        return self.handle.result().text

    @property
    def message(self) -> Message | None:
        """The same as what it says and calls, where tools may be called."""
        assert self.handle is not None
        return self.handle.result().message

    async def stop(self, reason: StopReason) -> None:
        """Stop it every way at once, then take its exact usage, however it ended. `reason` is what readers see."""
        if self.handle is None:
            return
        await results_in_hand()
        was_running = not self.handle.done()
        if was_running:
            assert self._state.decided_at is not None
            flag = asyncio.create_task(self._calls.publish_stop(self._state.decided_at, insight=True))
            self.handle.cancel()
            await flag
        await self._take_outcome(self.handle)
        insight = self._state.insight
        if insight is None:
            return
        if was_running:
            await self._publish_stopped(insight, reason)
        elif insight.reason == "aborted" and not self._state.is_cancelled:
            self._state.notes.insert(0, f"the large model failed: {_ABORTED}")

    async def _take_outcome(self, handle: workflow.ActivityHandle[GenerationOutcome]) -> None:
        try:
            self._state.insight = await handle
            self._state.llm_counts = self._state.insight.counts
            if self._state.insight.attempt > _MAX_ATTEMPTS:
                self._state.notes.append(
                    f"the large model could not be reached at first: attempt {self._state.insight.attempt} reached it"
                )
        except ActivityError as error:
            if not is_cancelled_exception(error):
                self._state.notes.insert(0, f"the large model failed: {cause_of(error)}")
            self._lost = error

    async def settle_lost_usage(self) -> None:
        """What attempts used that all failed. Asked as late as possible: the process that takes a killed one's place
        reports it.
        """
        if self._lost is not None:
            self._state.llm_counts = await self._calls.lost_usage(self._lost, LLM)

    async def _publish_stopped(self, insight: GenerationOutcome, decided: StopReason) -> None:
        reason = StopReason.CANCELLED if self._state.is_cancelled else decided
        stopped = LlmStopped(reason, self._state.cancel_ms(insight), insight.counts.overrun)
        await self._calls.locally(PublishingActivities.publish_llm_stopped, self._state.input.request_id, stopped)
