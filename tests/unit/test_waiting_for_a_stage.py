"""The activity that waits for a stage ends when it is cancelled, also where the client of Redis swallows the cancel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest
from temporalio.testing import ActivityEnvironment

from services.request_log.transcript import Transcript
from tandem.method.tasks import ModelTask
from workflows.activities.reading_ahead import ReadingAhead
from workflows.activities.scoring import ScoringActivities


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


async def test_a_cancel_that_redis_client_lost_ends_the_wait() -> None:
    streams, environment = _Streams(), ActivityEnvironment()
    async with grpc.aio.insecure_channel("127.0.0.1:1") as nobody:
        activities = ScoringActivities(nobody, cast(Any, SimpleNamespace(streams=streams)), ReadingAhead(nobody))
        waiting = asyncio.create_task(
            environment.run(activities.wait_and_score, ModelTask("r1", "why?", "scripted", stage=1), 0.5)
        )
        await streams.is_read.wait()
        environment.cancel()
        done, _ = await asyncio.wait([waiting], timeout=30)
        assert done
        with pytest.raises(asyncio.CancelledError):
            waiting.result()
