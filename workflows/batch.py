"""The workflow of one batch: ask page by page with bounded concurrency and one budget, write each page, join them at
the end.

Its history is kept short by continue-as-new between pages. What it pays for is decided by the ids of its requests:
whatever is repeated after a failure joins the request that there is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from tandem.method.names import BATCH_PROGRESS, BATCH_WORKFLOW, CANCEL_SIGNAL
    from tandem.method.profile.prices import total
    from tandem.method.request.batch import (
        UNASKED,
        AskOutcome,
        AskTask,
        BatchProgress,
        BatchState,
        BatchTask,
        FinishTask,
        StoreTask,
    )
    from tandem.method.timeouts import Timeouts
    from workflows.activities.batch import BatchActivities
    from workflows.calls import results_in_hand

_TOLD_EVERY = timedelta(seconds=2)
_FOR_EVER = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=30))
_WAIT = workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED
_ASKING: dict[str, Any] = {
    "start_to_close_timeout": Timeouts.batched_workflow + Timeouts.batch_step,
    "heartbeat_timeout": Timeouts.heartbeat,
    "retry_policy": _FOR_EVER,
}
_FILES: dict[str, Any] = {
    "start_to_close_timeout": Timeouts.batch_step,
    "heartbeat_timeout": Timeouts.heartbeat,
    "retry_policy": _FOR_EVER,
}
Ask = workflow.ActivityHandle[AskOutcome]


@workflow.defn(name=BATCH_WORKFLOW)
class BatchWorkflow:
    @workflow.init
    def __init__(self, task: BatchTask) -> None:
        self._task = task
        self._requests = BatchRequests(task, self._tell_soon)
        self._telling: asyncio.Task[None] | None = None

    @workflow.run
    async def run(self, task: BatchTask) -> BatchProgress:
        work = asyncio.create_task(self._run())
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:  # cancelled by an operator, through Temporal
            await results_in_hand()
            self.cancel()
            return await work

    @workflow.signal(name=CANCEL_SIGNAL)
    def cancel(self) -> None:
        """Ask nothing more, and cancel the requests that run; the batch then ends with what is there."""
        if self._requests.cancel():
            self._tell()

    async def _run(self) -> BatchProgress:
        if first := self._requests.progress.next_page:
            self._tell()  # a new run begins with the memo of the one before
        storing: list[asyncio.Task[None]] = []
        for page in range(first, self._task.num_pages):
            storing.append(asyncio.create_task(self._store(page, await self._requests.ask_page(page))))
            if self._requests.ending or workflow.info().is_continue_as_new_suggested():
                break
        for written in storing:
            await written
        progress = self._requests.wrote(len(storing))
        if self._requests.ending is None and progress.next_page < self._task.num_pages:
            workflow.continue_as_new(replace(self._task, progress=progress))
        return await self._finish()

    async def _store(self, page: int, asks: list[Ask]) -> None:
        kinds = [outcome.kind for outcome in await self._requests.outcomes(page, asks)]
        await workflow.execute_activity_method(
            BatchActivities.store_page,
            StoreTask(self._task.folder, page, kinds, self._requests.reason),
            **_FILES,
        )

    async def _finish(self) -> BatchProgress:
        ended = self._requests.ended()
        self._tell()
        task = self._task
        final: BatchProgress = await workflow.execute_activity_method(
            BatchActivities.finish,
            FinishTask(task.batch_id, task.folder, task.num_pages, ended, self._requests.reason),
            **_FILES,
        )
        return final

    def _tell_soon(self) -> None:
        """At most once in a while, and never leave a change untold."""
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell_later())

    async def _tell_later(self) -> None:
        await asyncio.sleep(_TOLD_EVERY.total_seconds())
        self._tell()

    def _tell(self) -> None:
        """The memo is read without asking a worker."""
        workflow.upsert_memo({BATCH_PROGRESS: asdict(self._requests.progress)})


class BatchRequests:
    """`changed` is called when one has ended. `ending`: why no further one is asked."""

    def __init__(self, task: BatchTask, changed: Callable[[], None]) -> None:
        self._task, self._progress, self._changed = task, task.progress, changed
        self._running: dict[Ask, float] = {}  # each with what it costs at most
        self.ending: BatchState | None = None

    @property
    def progress(self) -> BatchProgress:
        return replace(self._progress, running=len(self._running))

    @property
    def reason(self) -> str:
        """Why requests were not asked; empty as long as all are."""
        return UNASKED.get(self.ending, "") if self.ending else ""

    async def ask_page(self, page: int) -> list[Ask]:
        """Ask its requests, one by one as concurrency and budget allow; those that are not asked any more are
        missing.
        """
        bounds: list[float] = await workflow.execute_activity_method(
            BatchActivities.bounds_of_page,
            args=[self._task.folder, page],
            **_FILES,
        )
        asks: list[Ask] = []
        for index, bound in enumerate(bounds):
            if not await self._may_ask(bound):
                break
            asks.append(self._start(_ask_task(self._task, page, index), bound))
        return asks

    async def outcomes(self, page: int, asks: list[Ask]) -> list[AskOutcome]:
        """Of a page's requests, when all have ended. Raises ActivityError where the batch's files are gone."""
        return [await self._outcome(ask, _ask_task(self._task, page, index)) for index, ask in enumerate(asks)]

    def cancel(self) -> bool:
        """Ask no further one, and cancel those that run. False where the batch ends already."""
        if self.ending is not None:
            return False
        self.ending = BatchState.CANCELLED
        self._progress = replace(self._progress, state=BatchState.CANCELLING)
        for ask in self._running:
            ask.cancel()
        return True

    def wrote(self, pages: int) -> BatchProgress:
        self._progress = replace(self._progress, next_page=self._progress.next_page + pages)
        return self._progress

    def ended(self) -> BatchProgress:
        """How the batch ends. A cancel that comes later changes nothing."""
        now, self.ending = self._progress, self.ending or BatchState.COMPLETED
        unasked = self._task.total - now.answered - now.failed - now.cancelled
        state = BatchState.CANCELLING if self.ending is BatchState.CANCELLED else BatchState.FINALIZING
        self._progress = replace(now, state=state, unasked=unasked)
        return replace(self._progress, state=self.ending)

    async def _may_ask(self, bound: float) -> bool:
        """Waits for a place, and for the money that running requests will not have needed."""
        await workflow.wait_condition(lambda: self.ending is not None or self._has_place(bound))
        if self.ending is None and self._task.deadline and workflow.now().timestamp() >= self._task.deadline:
            self.ending = BatchState.EXPIRED
        if self.ending is None and not self._is_affordable(bound):
            self.ending = BatchState.BUDGET_EXHAUSTED
        return self.ending is None

    def _has_place(self, bound: float) -> bool:
        return len(self._running) < self._task.concurrency and (not self._running or self._is_affordable(bound))

    def _is_affordable(self, bound: float) -> bool:
        limit = self._task.max_cost_usd
        return limit is None or (self._progress.usd or 0.0) + sum(self._running.values()) + bound <= limit

    def _start(self, task: AskTask, bound: float) -> Ask:
        ask: Ask = workflow.start_activity_method(BatchActivities.ask, task, cancellation_type=_WAIT, **_ASKING)
        self._running[ask] = bound
        ask.add_done_callback(self._end)
        return ask

    def _end(self, ask: asyncio.Future[AskOutcome]) -> None:
        del self._running[ask]  # type: ignore[arg-type]  # the callback is given the handle, as a future
        if not ask.cancelled() and ask.exception() is None:  # else `outcomes` looks what became of it
            self._count(ask.result())

    async def _outcome(self, ask: Ask, task: AskTask) -> AskOutcome:
        try:
            return await ask
        except ActivityError as error:
            if not is_cancelled_exception(error):
                raise
        outcome: AskOutcome = await workflow.execute_activity_method(BatchActivities.cancel_asked, task, **_ASKING)
        self._count(outcome)
        return outcome

    def _count(self, outcome: AskOutcome) -> None:
        now, kind = self._progress, "failed" if outcome.kind == "refused" else outcome.kind
        if kind != "unasked":  # those are counted at the end
            self._progress = replace(now, usd=total(now.usd, outcome.usd), **{kind: getattr(now, kind) + 1})
        self._changed()


def _ask_task(batch: BatchTask, page: int, index: int) -> AskTask:
    return AskTask(batch.batch_id, batch.folder, page, index)
