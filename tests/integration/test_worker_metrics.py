"""What Temporal's library measures of a worker is in the process's metrics."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest
from prometheus_client import REGISTRY
from temporalio import activity, workflow
from temporalio.worker import Worker

from services.shared.process.temporal import connect
from services.shared.process.temporal_metrics import keep_exporting, measured_runtime

pytestmark = pytest.mark.asyncio(loop_scope="session")


@activity.defn
async def step() -> str:
    return "done"


@workflow.defn(sandboxed=False)
class OneStep:
    @workflow.run
    async def run(self) -> str:
        return await workflow.execute_activity(step, start_to_close_timeout=timedelta(minutes=1))


async def test_slots_and_waits_of_a_workers_queue_are_exported(
    temporal_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", temporal_address)
    runtime, buffer = measured_runtime()
    client, queue = await connect(runtime), uuid4().hex

    def value(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, {"task_queue": queue, **labels}) or 0.0

    async with Worker(client, task_queue=queue, workflows=[OneStep], activities=[step], max_concurrent_activities=7):
        exporting = asyncio.create_task(keep_exporting(buffer))
        assert await client.execute_workflow(OneStep.run, id=queue, task_queue=queue) == "done"
        async with asyncio.timeout(60):
            while value("temporal_worker_task_slots_available", worker_type="ActivityWorker") != 7:
                await asyncio.sleep(0.05)
            while not value("temporal_activity_schedule_to_start_latency_seconds_count"):
                await asyncio.sleep(0.05)
            while not value("temporal_workflow_task_schedule_to_start_latency_seconds_count"):
                await asyncio.sleep(0.05)
        exporting.cancel()
