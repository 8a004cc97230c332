"""A cancel loses no result that came with the same step of the workflow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import uuid4

import pytest
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from workflows.calls import cancel

pytestmark = pytest.mark.asyncio(loop_scope="session")
_MAY_END = asyncio.Event()
_TIMEOUT = timedelta(minutes=5)
_WAIT = workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED


@activity.defn
async def work() -> str:
    await _MAY_END.wait()
    return "result"


@workflow.defn
class Impatient:
    """Cancels the activity when it takes too long."""

    @workflow.run
    async def run(self, activities: str) -> str:
        handle = workflow.start_activity(
            work, task_queue=activities, start_to_close_timeout=_TIMEOUT, cancellation_type=_WAIT
        )
        await workflow.wait([handle], timeout=0.5)
        await cancel(handle)
        return await handle


async def test_a_result_that_came_with_the_time_out_is_kept(temporal_address: str) -> None:
    client, queue = await Client.connect(temporal_address), uuid4().hex
    async with Worker(client, task_queue=f"{queue}-activities", activities=[work]):
        async with _worker(client, queue):
            handle = await client.start_workflow(Impatient.run, f"{queue}-activities", id=queue, task_queue=queue)
            await _has(handle, "timer_started_event_attributes")
        await _has(handle, "timer_fired_event_attributes")
        _MAY_END.set()
        await _has(handle, "activity_task_completed_event_attributes")
        async with _worker(client, queue):
            assert await handle.result() == "result"


@asynccontextmanager
async def _worker(client: Client, queue: str) -> AsyncIterator[None]:
    """It forgets its workflows as it ends, so another one takes them up at once."""
    runner = UnsandboxedWorkflowRunner()
    async with Worker(client, task_queue=queue, workflows=[Impatient], workflow_runner=runner, max_cached_workflows=0):
        yield


async def _has(handle: WorkflowHandle[Impatient, str], kind: str) -> None:
    async with asyncio.timeout(_TIMEOUT.total_seconds()):
        while kind not in [event.WhichOneof("attributes") async for event in handle.fetch_history_events()]:
            await asyncio.sleep(0.05)
