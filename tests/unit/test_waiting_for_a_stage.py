"""The activity that waits for a stage ends when it is cancelled, also where the client of Redis swallows the cancel,
and tells what the small model has read meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from services.shared.request_log.transcript import Transcript
from tandem.method.errors import Unavailable
from tandem.method.profile.prices import RolePrices
from tandem.method.request.job import Job
from tandem.method.request.tasks import Ahead, LoggedPrefills, StageScore
from tandem.method.tokens import TokenCounts
from tandem.v1 import execution_pb2, execution_pb2_grpc
from tests.steps import asked, job_at_hand
from workflows.activities.models import AnswerActivities
from workflows.activities.prefill_ahead import PrefillsAhead
from workflows.activities.scoring import ScoringActivities
from workflows.activities.usage import ReportedUsage


class _Streams:
    """Of an insight that never goes on. Its reader loses every cancel, as asyncio.wait_for of Python 3.11 may."""

    def __init__(self) -> None:
        self.is_read = asyncio.Event()

    async def follow_stages(self, request_id: str) -> AsyncIterator[Transcript]:
        while True:
            self.is_read.set()
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)
            yield Transcript()


@pytest.fixture(autouse=True)
def job() -> Job:
    """At hand for as long as the test runs."""
    return job_at_hand(_REQUEST)


async def test_a_cancel_that_redis_client_lost_ends_the_wait() -> None:
    streams, environment = _Streams(), ActivityEnvironment()
    async with grpc.aio.insecure_channel("127.0.0.1:1") as nobody:
        activities = ScoringActivities(nobody, cast(Any, SimpleNamespace(streams=streams)), PrefillsAhead(nobody))
        waiting = asyncio.create_task(
            environment.run(activities.wait_and_score, asked("r1", "why?", stage=1).step, 0.5)
        )
        await streams.is_read.wait()
        environment.cancel()
        done, _ = await asyncio.wait([waiting], timeout=30)
        assert done
        with pytest.raises(asyncio.CancelledError):
            waiting.result()


class _Executor(execution_pb2_grpc.SlmExecutorServicer):
    """A prefill runs until it is aborted, where it `waits`; it has read 9 tokens by then."""

    def __init__(self, *, waits: bool) -> None:
        self.num_begun, self.aborted = 0, asyncio.Event()
        if not waits:
            self.aborted.set()

    async def Prefill(self, request: execution_pb2.PrefillRequest, context: Any) -> execution_pb2.PrefillResponse:
        self.num_begun += 1
        await self.aborted.wait()
        return execution_pb2.PrefillResponse(input_tokens=9)

    async def Abort(self, request: execution_pb2.AbortRequest, context: Any) -> execution_pb2.AbortResponse:
        self.aborted.set()
        return execution_pb2.AbortResponse()


@asynccontextmanager
async def _served(executor: _Executor, streams: Any) -> AsyncIterator[tuple[ScoringActivities, AnswerActivities]]:
    """Both kinds of activities of a worker whose log has `streams` and no ledger."""
    server = grpc.aio.server()
    execution_pb2_grpc.add_SlmExecutorServicer_to_server(executor, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    log = cast(Any, SimpleNamespace(streams=streams, ledger=_DeadLedger()))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        ahead = PrefillsAhead(channel)
        yield ScoringActivities(channel, log, ahead), AnswerActivities({"slm": channel}, log, ReportedUsage(), ahead)
    await server.stop(None)


_REQUEST, _STEP = asked("r1", "why?", stage=2)
_AHEAD = Ahead(1, RolePrices(1.0, 1.0, 1.0))
_READ = TokenCounts(prompt=9)


async def test_a_cancelled_wait_tells_what_was_read_meanwhile() -> None:
    streams, executor, environment = _Streams(), _Executor(waits=True), ActivityEnvironment()
    async with _served(executor, streams) as (activities, _):
        waiting = asyncio.create_task(environment.run(activities.wait_for_stage, _STEP, _AHEAD))
        while not executor.num_begun:
            await asyncio.sleep(0.01)
        environment.cancel()
        assert await asyncio.wait_for(waiting, 30) == StageScore(2, ended=True, ahead=_READ)


class _DeadLedger:
    async def all_passes(self, request_id: str, kind: object) -> None:
        raise Unavailable("no Redis")


class _DeadLog:
    async def follow_stages(self, request_id: str) -> AsyncIterator[Transcript]:
        raise Unavailable("no Redis")
        yield Transcript()


async def test_a_wait_that_redis_fails_tells_what_was_read_and_its_second_attempt_reads_nothing_again() -> None:
    executor, first, second = _Executor(waits=False), ActivityEnvironment(), ActivityEnvironment()
    second.info = replace(second.info, attempt=2)
    async with _served(executor, _DeadLog()) as (activities, _):
        with pytest.raises(ApplicationError):
            await first.run(activities.wait_for_stage, _STEP, _AHEAD)
        while executor.num_begun < 1:
            await asyncio.sleep(0.01)
        for _ in range(1000):
            with pytest.raises(ApplicationError) as failed:
                await second.run(activities.wait_for_stage, _STEP, _AHEAD)
            if failed.value.details[0] == StageScore(2, ahead=_READ):
                break
            await asyncio.sleep(0.01)
        assert failed.value.details[0] == StageScore(2, ahead=_READ)
        assert executor.num_begun == 1


async def test_a_worker_knows_what_its_prefills_have_read_without_the_log() -> None:
    environment = ActivityEnvironment()
    async with _served(_Executor(waits=False), _DeadLog()) as (scoring, answers):
        with pytest.raises(ApplicationError):
            await environment.run(scoring.wait_for_stage, _STEP, _AHEAD)
        found = await environment.run(answers.all_prefill_passes, "r1", ())
    assert found == LoggedPrefills({1: TokenCounts(prompt=9)}, is_whole=False)
