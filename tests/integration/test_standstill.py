"""A worker that stood still in the middle of a workflow's step goes on with it."""

from __future__ import annotations

import time
from uuid import uuid4

import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from workflows.worker import outlive_standstill

pytestmark = pytest.mark.asyncio(loop_scope="session")
_STANDSTILL_SECONDS = 2.5  # Temporal's library takes two for a deadlock


@workflow.defn
class StandingStill:
    @workflow.run
    async def run(self) -> str:
        time.sleep(_STANDSTILL_SECONDS)  # noqa: ASYNC251 - the whole process is to stand still
        return "done"


async def test_a_step_that_took_seconds_is_not_taken_for_a_deadlock(temporal_address: str) -> None:
    client, queue = await Client.connect(temporal_address), uuid4().hex
    worker = Worker(client, task_queue=queue, workflows=[StandingStill], workflow_runner=UnsandboxedWorkflowRunner())
    outlive_standstill(worker)
    async with worker:
        handle = await client.start_workflow(StandingStill.run, id=queue, task_queue=queue)
        assert await handle.result() == "done"
    kinds = [event.WhichOneof("attributes") async for event in handle.fetch_history_events()]
    assert "workflow_task_failed_event_attributes" not in kinds
