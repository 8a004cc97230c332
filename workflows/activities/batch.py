"""The activities of a batch: read a page, ask one request, write a page, join the pages. Each may be repeated at any
time.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

from opentelemetry import trace
from opentelemetry.context import Context
from temporalio import activity
from temporalio.common import Priority, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from services.shared.file_store import paths
from services.shared.file_store.records import BATCH_OUTPUT, FileRecord, Pages, Records
from services.shared.file_store.store import FileStore
from services.shared.observability.tracing import current_trace_id, tracer
from services.shared.process.search_attributes import at_start
from tandem.method.errors import NotFound
from tandem.method.names import CANCEL_SIGNAL, SOLVE_WORKFLOW, solve_queue
from tandem.method.request.batch import AdmittedLine, AskOutcome, AskTask, BatchProgress, FinishTask, StoreTask
from tandem.method.request.result import SolveResult
from tandem.method.timeouts import Timeouts
from workflows.activities.attempts import heartbeating
from workflows.activities.batch_lines import Handle, Solved, answer_line, solved, unasked_line

T = TypeVar("T")
# One in a thousand of Temporal's long polls misses a workflow that ends as the poll begins, and returns after 20 s.
_POLL_SECONDS = 5.0
_AFTER_OTHERS = 4  # the priority: somebody waits for every other request
_WRITTEN_AT_ONCE = 16
_REFUSED = Solved(None, "request_id_reused", "the id of this request belongs to another one")


class BatchActivities:
    def __init__(self, store: FileStore) -> None:
        self._store, self._pages, self._records = store, Pages(store), Records(store)

    @activity.defn
    async def bounds_of_page(self, folder: str, page: int) -> list[float]:
        """What each request of a page costs at most, in USD. Raises ApplicationError where the batch's files are
        gone.
        """
        async with heartbeating():
            return [line.usd_at_most for line in await self._page(folder, page)]

    @activity.defn
    async def ask(self, task: AskTask) -> AskOutcome:
        """Start the request, or join the one that an earlier attempt has started, and wait for its end.

        A cancel of the batch cancels the request, whose bill still comes.
        """
        async with heartbeating():
            line = await _in_thread(self._pages.line, task.folder, task.page, task.index)
            handle = _handle(line)
            start = asyncio.ensure_future(_start(line, task.batch_id))
            try:
                if not await asyncio.shield(start):
                    return AskOutcome("refused")
                return (await _end(handle)).outcome
            except asyncio.CancelledError:
                if not _is_cancelled_by_batch():
                    raise
            # A start that is under way may begin the request after a cancel that has found none.
            [is_ours] = await asyncio.gather(start, return_exceptions=True)
            return AskOutcome("refused") if is_ours is False else await _cancelled(handle)

    @activity.defn
    async def cancel_asked(self, task: AskTask) -> AskOutcome:
        """The end of a request whose `ask` was cancelled while it waited for a worker: an attempt before may have
        started it.
        """
        async with heartbeating():
            line = await _in_thread(self._pages.line, task.folder, task.page, task.index)
            return await _cancelled(_handle(line))

    @activity.defn
    async def store_page(self, task: StoreTask) -> None:
        """Write what became of a page's requests; the same lines, however often it is repeated."""
        async with heartbeating():
            lines = await self._page(task.folder, task.page)
            at_once = asyncio.Semaphore(_WRITTEN_AT_ONCE)

            async def rendered(line: AdmittedLine, kind: str) -> tuple[str, bytes]:
                if kind == "unasked":
                    return unasked_line(line, task.unasked)
                async with at_once:
                    ended = _REFUSED if kind == "refused" else await _end(_handle(line))
                    return answer_line(line, ended, int(time.time()))

            kinds = [*task.kinds, *["unasked"] * (len(lines) - len(task.kinds))]
            made = await asyncio.gather(*map(rendered, lines, kinds))
            for kind in (paths.ANSWERS, paths.ERRORS):
                shard = [text for of, text in made if of == kind]
                await asyncio.to_thread(self._store.write, paths.shard_path(task.folder, kind, task.page), shard)

    @activity.defn
    async def finish(self, task: FinishTask) -> BatchProgress:
        """Join the pages into the batch's files, and write down how it ended."""
        async with heartbeating():
            has_output = await asyncio.to_thread(self._join, task, paths.ANSWERS)
            has_errors = await asyncio.to_thread(self._join, task, paths.ERRORS)
            ended = replace(task.progress, has_output=has_output, has_errors=has_errors, ended_at=time.time())
            await asyncio.to_thread(self._records.write_end, task.folder, ended)
            return ended

    async def _page(self, folder: str, page: int) -> list[AdmittedLine]:
        return await _in_thread(self._pages.lines, folder, page)

    def _join(self, task: FinishTask, kind: str) -> bool:
        """Whether there are any lines. A file without lines is none."""
        batch_id, tenant = task.batch_id.rpartition("/")[2], paths.tenant_of(task.folder)
        file_id = paths.output_id(batch_id, kind)
        size = self._store.write(paths.file_path(tenant, file_id), self._joined(task, kind))
        if not size:
            self._store.delete(paths.file_path(tenant, file_id))
            return False
        name = f"{batch_id}-{kind}.jsonl"
        self._records.write_file(tenant, FileRecord(file_id, name, BATCH_OUTPUT, size, time.time()))
        return True

    def _joined(self, task: FinishTask, kind: str) -> Iterator[bytes]:
        for page in range(task.num_pages):
            if page < task.progress.next_page:
                yield self._store.read(paths.shard_path(task.folder, kind, page))
                continue
            for line in self._pages.lines(task.folder, page):
                of, text = unasked_line(line, task.unasked)
                if of == kind:
                    yield text


async def _in_thread(call: Callable[..., T], *arguments: object) -> T:
    """Raises ApplicationError, which is final, where the batch's files are gone."""
    try:
        return await asyncio.to_thread(call, *arguments)
    except NotFound as error:
        raise ApplicationError(str(error), type=error.reason, non_retryable=True) from error


async def _start(line: AdmittedLine, batch_id: str) -> bool:
    """Start the request under a trace of its own, linked to the batch's. False where its id belongs to another
    request.
    """
    link = trace.Link(trace.get_current_span().get_span_context())
    with tracer.start_as_current_span("batched request", context=Context(), links=[link]) as span:
        span.set_attributes({"tandem.request.id": line.input.request_id, "tandem.batch.id": batch_id})
        task = replace(line.input, trace_id=current_trace_id())
        try:
            await activity.client().start_workflow(
                SOLVE_WORKFLOW,
                task,
                id=task.request_id,
                task_queue=solve_queue(task.plan.profile),
                execution_timeout=Timeouts.batched_workflow,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                memo={**line.memo, "trace_id": task.trace_id},
                search_attributes=at_start(task),
                priority=Priority(priority_key=_AFTER_OTHERS, fairness_key=line.fairness_key or None),
            )
        except WorkflowAlreadyStartedError:
            description = await _handle(line).describe()
            return bool((await description.memo()).get("fingerprint") == line.memo["fingerprint"])
    return True


def _handle(line: AdmittedLine) -> Handle:
    return activity.client().get_workflow_handle(line.input.request_id, result_type=SolveResult)


async def _end(handle: Handle) -> Solved:
    while True:
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(solved(handle), _POLL_SECONDS)


async def _cancelled(handle: Handle) -> AskOutcome:
    """Cancel the request and wait for its bill; one that has ended stays as it is, and one that never began was not
    asked.
    """
    try:
        await handle.signal(CANCEL_SIGNAL)
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise
        if not await _exists(handle):
            return AskOutcome("unasked")
    return (await _end(handle)).outcome


async def _exists(handle: Handle) -> bool:
    try:
        await handle.describe()
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return False
        raise
    return True


def _is_cancelled_by_batch() -> bool:
    """Not by a worker that drains, nor because another attempt has taken over."""
    details = activity.cancellation_details()
    return details is not None and details.cancel_requested
