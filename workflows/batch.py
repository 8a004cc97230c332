"""The workflow of one batch: ask page by page with bounded concurrency and one budget, write each page, join them at
the end.

Its history is kept short by continue-as-new between pages. What it pays for is decided by the ids of its requests:
whatever is repeated after a failure joins the request that there is.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from tandem.method.names import BATCH_PROGRESS, BATCH_WORKFLOW, CANCEL_SIGNAL
    from tandem.method.request.batch import BatchProgress, BatchTask, FinishTask, StoreTask
    from tandem.method.timeouts import Timeouts
    from workflows.activities.batch import BatchActivities
    from workflows.batch_requests import FOR_EVER, Ask, BatchRequests
    from workflows.calls import results_in_hand

_TOLD_EVERY = timedelta(seconds=2)
_FILES: dict[str, Any] = {
    "start_to_close_timeout": Timeouts.batch_step,
    "heartbeat_timeout": Timeouts.heartbeat,
    "retry_policy": FOR_EVER,
}


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
