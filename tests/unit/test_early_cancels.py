"""A cancel that comes before what it cancels has begun reaches it all the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest
from temporalio.activity import ActivityCancellationDetails
from temporalio.testing import ActivityEnvironment

from tandem.method.request.batch import AskOutcome, AskTask
from tandem.v1 import execution_pb2, insight_pb2, insight_pb2_grpc
from tests.steps import asked, job_at_hand
from workflows.activities import batch
from workflows.activities.models import InsightActivities
from workflows.activities.usage import ReportedUsage

_CANCELLED = ActivityCancellationDetails(cancel_requested=True)


class _LateGenerator(insight_pb2_grpc.InsightGeneratorServicer):
    """It knows an attempt only after its first abort, and ends it at the second."""

    def __init__(self) -> None:
        self.is_called, self.is_stopped, self.num_aborts = asyncio.Event(), asyncio.Event(), 0

    async def Generate(
        self, request: insight_pb2.GenerateRequest, context: Any
    ) -> AsyncIterator[insight_pb2.GenerateEvent]:
        self.is_called.set()
        await self.is_stopped.wait()
        yield insight_pb2.GenerateEvent(started=insight_pb2.GenerateStarted())
        finished = insight_pb2.GenerateFinished(reason=execution_pb2.FINISH_REASON_ABORTED)
        yield insight_pb2.GenerateEvent(finished=finished)

    async def Abort(self, request: execution_pb2.AbortRequest, context: Any) -> execution_pb2.AbortResponse:
        self.num_aborts += 1
        is_known = self.num_aborts > 1
        if is_known:
            self.is_stopped.set()
        return execution_pb2.AbortResponse(aborted=is_known)


@asynccontextmanager
async def _served(generator: _LateGenerator) -> AsyncIterator[InsightActivities]:
    server = grpc.aio.server()
    insight_pb2_grpc.add_InsightGeneratorServicer_to_server(generator, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield InsightActivities(channel, ReportedUsage())
    await server.stop(None)


async def test_an_abort_that_finds_no_attempt_is_sent_again() -> None:
    generator, environment = _LateGenerator(), ActivityEnvironment()
    request, step = asked("r1", "why?")
    job = job_at_hand(request)
    async with _served(generator) as activities:
        writing = asyncio.create_task(environment.run(activities.generate_insight, step))
        await generator.is_called.wait()
        environment.cancel()
        outcome = await asyncio.wait_for(writing, 30)
    assert (job.request_id, outcome.reason, generator.num_aborts) == ("r1", "aborted", 2)


@pytest.mark.parametrize(("is_ours", "found"), [(True, AskOutcome("cancelled")), (False, AskOutcome("refused"))])
async def test_a_batch_that_is_cancelled_while_a_request_starts_waits_for_the_start(
    monkeypatch: pytest.MonkeyPatch, is_ours: bool, found: AskOutcome
) -> None:
    """The request would run after a cancel that did not find it, and another's under this id is left alone."""
    is_sent, may_start, started = asyncio.Event(), asyncio.Event(), []

    async def start(line: Any, batch_id: str) -> bool:
        is_sent.set()
        await may_start.wait()
        started.append(line)
        return is_ours

    async def cancelled(handle: Any) -> AskOutcome:
        assert is_ours
        return AskOutcome("cancelled" if started else "unasked")

    monkeypatch.setattr(batch, "_start", start)
    monkeypatch.setattr(batch, "_cancelled", cancelled)
    monkeypatch.setattr(batch, "_handle", lambda line: None)
    activities, environment = batch.BatchActivities(cast(Any, None)), ActivityEnvironment()
    activities._pages = cast(Any, SimpleNamespace(line=lambda folder, page, index: "line"))
    asking = asyncio.create_task(environment.run(activities.ask, AskTask("b1", "folder", 0, 0)))
    await is_sent.wait()
    environment.cancel(cancellation_details=_CANCELLED)
    await asyncio.sleep(0.05)
    may_start.set()
    assert await asyncio.wait_for(asking, 30) == found
