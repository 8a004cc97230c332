"""While a stage is waited for, the small model prefills what its answer may begin with: the prompt of a stage that did not suffice.

It is part of the activity that waits, and not one of its own: that would be three events and a heartbeat each second in Temporal for
work whose tokens the request log has in any case.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace

import grpc
from temporalio import activity

from tandem.convert.outcomes import prefill_response_from_pb
from tandem.convert.requests import prefill_request_to_pb
from tandem.method.tasks import Ahead, ModelTask, StageScore
from tandem.method.timeouts import Timeouts
from tandem.v1 import execution_pb2, execution_pb2_grpc
from workflows.activities.attempts import worker_is_draining
from workflows.activities.model_call import abort

_ABORT_AGAIN_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Reading:
    """A prefill that runs, or none."""

    prefill: asyncio.Future[execution_pb2.PrefillResponse] | None = None

    def told_in(self, score: StageScore) -> StageScore:
        """`score` with how the prefill stands. Of one that failed only the request log can have tokens."""
        prefill = self.prefill
        if prefill is None or (prefill.done() and (prefill.cancelled() or prefill.exception() is not None)):
            return score
        if prefill.done():
            return replace(score, ahead=prefill_response_from_pb(prefill.result()))
        return replace(score, is_reading=True)


class ReadingAhead:
    def __init__(self, executor: grpc.aio.Channel) -> None:
        self._stub = execution_pb2_grpc.SlmExecutorStub(executor)
        self._running: set[asyncio.Future[execution_pb2.PrefillResponse]] = set()

    @asynccontextmanager
    async def during(self, task: ModelTask, ahead: Ahead | None) -> AsyncIterator[Reading]:
        """Prefill while the block runs, which never waits for it. What has not ended by then runs on, until the answer or the next
        prefill takes its place, or the request's bill is made up (`AnswerActivities.all_prefill_passes`). It is aborted, never
        cancelled: one that was begun then tells its tokens to the log. A cancel of the block waits for that.

        A repeated attempt does not prefill again: the log has one pass for each stage.
        """
        if ahead is None or activity.info().attempt > 1:
            yield Reading()
            return
        prefill = self._start(replace(task, stage=ahead.stage, prices=ahead.prices))
        try:
            yield Reading(prefill)
        except asyncio.CancelledError:
            if not worker_is_draining():
                await self._end(prefill, task.request_id)
            raise

    def _start(self, task: ModelTask) -> asyncio.Future[execution_pb2.PrefillResponse]:
        call = self._stub.Prefill(prefill_request_to_pb(task), timeout=Timeouts.attempt.total_seconds())
        prefill = asyncio.ensure_future(call)
        self._running.add(prefill)  # asyncio itself holds what runs only weakly
        prefill.add_done_callback(self._forget)
        return prefill

    def _forget(self, prefill: asyncio.Future[execution_pb2.PrefillResponse]) -> None:
        self._running.discard(prefill)
        if not prefill.cancelled():
            prefill.exception()  # it is seen: a prefill that fails hinders nothing

    async def _end(self, prefill: asyncio.Future[execution_pb2.PrefillResponse], request_id: str) -> None:
        with suppress(grpc.aio.AioRpcError):  # a service that is away prefills nothing
            while not prefill.done():  # it may receive the call only after the first abort
                await abort(self._stub, request_id, 0, only_prefill=True)
                await asyncio.wait({prefill}, timeout=_ABORT_AGAIN_SECONDS)
