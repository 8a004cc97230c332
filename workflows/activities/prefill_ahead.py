"""While a stage is waited for, the small model prefills what its answer may begin with: the prompt of a stage that did
not suffice.

It is part of the activity that waits, and not one of its own: that would be three events and a heartbeat each second in
Temporal for work whose tokens the request log has in any case.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass, replace

import grpc
from temporalio import activity

from tandem.convert.outcomes import prefill_response_from_pb
from tandem.convert.requests import prefill_request_to_pb
from tandem.method.request.job import Step
from tandem.method.request.request import SolveRequest
from tandem.method.request.tasks import Ahead, StageScore
from tandem.method.roles import SLM
from tandem.method.timeouts import Timeouts
from tandem.method.tokens import TokenCounts
from tandem.v1 import execution_pb2, execution_pb2_grpc
from workflows.activities.attempts import worker_is_draining
from workflows.activities.jobs import current_job
from workflows.activities.model_call import abort, place_of

_ABORT_AGAIN_SECONDS, _ENDING_SECONDS = 0.05, 1.0
_MAX_KEPT = 1024  # prefills, of which a repeated attempt may ask for the last ones

Prefill = asyncio.Future[execution_pb2.PrefillResponse]


@dataclass(frozen=True, slots=True)
class PrefillAhead:
    """A prefill that runs, or none."""

    stub: execution_pb2_grpc.SlmExecutorStub
    request_id: str
    prefill: Prefill | None = None

    async def beside(self, waiting: Awaitable[StageScore], stage: int) -> StageScore:
        """What `waiting` returns, which never waits for the prefill. What has not ended by then runs on, until the
        answer or the next prefill takes its place, or the request's bill is made up
        (`AnswerActivities.all_prefill_passes`). It is aborted, never cancelled:
        one that was begun then returns its counts. A cancel waits for that, and returns `ended`: a wait has cost
        nothing else.
        """
        try:
            return await waiting
        except asyncio.CancelledError:
            if self.prefill is None or worker_is_draining():
                raise
            await self._end(self.prefill)
            return StageScore(stage, ended=True)

    def with_prefill(self, score: StageScore) -> StageScore:
        """`score` with the prefill's counts, or that it still runs. Of one that failed only the request log can have
        tokens.
        """
        prefill = self.prefill
        if prefill is None or (prefill.done() and (prefill.cancelled() or prefill.exception() is not None)):
            return score
        if prefill.done():
            own, every = prefill_response_from_pb(prefill.result())
            return replace(score, ahead=own, all_ahead=every)
        return replace(score, is_reading=True)

    async def _end(self, prefill: Prefill) -> None:
        with suppress(grpc.aio.AioRpcError):  # a service that is away prefills nothing
            while not prefill.done():  # it may receive the call only after the first abort
                await abort(self.stub, self.request_id, 0, only_prefill=True)
                await asyncio.wait({prefill}, timeout=_ABORT_AGAIN_SECONDS)


class PrefillsAhead:
    def __init__(self, executor: grpc.aio.Channel) -> None:
        self._stub = execution_pb2_grpc.SlmExecutorStub(executor)
        self._begun: OrderedDict[tuple[str, int], Prefill] = OrderedDict()

    async def begin(self, step: Step, ahead: Ahead | None) -> PrefillAhead:
        """Begin to prefill `ahead`. A repeated attempt has the prefill of the first, where this worker had begun it,
        and begins none: the log has one pass for each stage.
        """
        if ahead is None:
            return PrefillAhead(self._stub, step.request_id)
        prefill = self._begun.get((step.request_id, ahead.stage))
        if prefill is None and activity.info().attempt == 1:
            request = (await current_job()).request
            prefill = self._start(request, replace(step, role=SLM, stage=ahead.stage, prices=ahead.prices))
        return PrefillAhead(self._stub, step.request_id, prefill)

    async def reported(self, request_id: str) -> dict[int, TokenCounts]:
        """By stage, the counts that prefills of this worker have returned: the log may have lost them, and so may the
        attempt that received them. Prefills that still run are about to end.
        """
        own = {stage: prefill for (request, stage), prefill in self._begun.items() if request == request_id}
        if own:
            await asyncio.wait(own.values(), timeout=_ENDING_SECONDS)
        ended = {stage: prefill for stage, prefill in own.items() if prefill.done() and not prefill.cancelled()}
        return {
            stage: prefill_response_from_pb(prefill.result())[0]
            for stage, prefill in ended.items()
            if prefill.exception() is None
        }

    def _start(self, request: SolveRequest, step: Step) -> Prefill:
        message, limit = prefill_request_to_pb(request, step), Timeouts.attempt.total_seconds()
        call = self._stub.Prefill(message, timeout=limit, metadata=place_of(request, step))
        prefill = self._begun[step.request_id, step.stage] = asyncio.ensure_future(call)
        prefill.add_done_callback(_see)
        if len(self._begun) > _MAX_KEPT:
            self._begun.popitem(last=False)
        return prefill


def _see(prefill: Prefill) -> None:
    """A prefill that fails hinders nothing."""
    if not prefill.cancelled():
        prefill.exception()
