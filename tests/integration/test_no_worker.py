"""Where no worker serves a profile, a caller hears of it long before the request's deadline."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import PollWorkflowTaskQueueRequest

from services.gateway.workers import PATIENCE, Patience, Workers
from tandem.method.errors import Unavailable
from tandem.method.names import SOLVE_WORKFLOW, solve_queue
from tests.conftest import Hold
from tests.integration.asking import BOUND_SECONDS, ask
from tests.integration.conftest import System

pytestmark = pytest.mark.asyncio(loop_scope="session")
NOBODYS = "nobodys-profile"


SHORT = Patience(*[timedelta(seconds=1)] * 3)


def workers(system: System, patience: Patience = SHORT) -> Workers:
    return Workers(system.temporal, patience)


async def test_who_waits_for_a_request_that_no_worker_takes_is_told_so(system: System) -> None:
    request_id = uuid4().hex
    handle = await system.temporal.start_workflow(SOLVE_WORKFLOW, id=request_id, task_queue=solve_queue(NOBODYS))
    watch = workers(system).watch(request_id, NOBODYS)
    with pytest.raises(Unavailable, match=NOBODYS) as told:
        await asyncio.wait_for(system.workflows.result(request_id, watch), BOUND_SECONDS)
    assert told.value.reason == "NO_WORKER"
    assert "tandem status" in str(told.value)
    await handle.terminate()


async def test_a_new_request_without_a_worker_is_told_of_after_ten_seconds_however_late_the_last_poll_was(
    system: System,
) -> None:
    """A worker that polled a moment before it died left a poll of a minute behind, by which it looked alive for two."""
    polling = asyncio.create_task(_poll(system, NOBODYS))
    async with asyncio.timeout(BOUND_SECONDS):
        while not await workers(system)._have_polled(solve_queue(NOBODYS), datetime.min.replace(tzinfo=UTC)):
            await asyncio.sleep(0.01)
    polling.cancel()
    await asyncio.wait([polling])
    request_id, began = uuid4().hex, time.monotonic()
    handle = await system.temporal.start_workflow(SOLVE_WORKFLOW, id=request_id, task_queue=solve_queue(NOBODYS))
    watch = workers(system, PATIENCE).watch(request_id, NOBODYS)
    with pytest.raises(Unavailable, match=NOBODYS):
        await asyncio.wait_for(system.workflows.result(request_id, watch), BOUND_SECONDS)
    assert 10 <= time.monotonic() - began < 30
    await handle.terminate()


async def _poll(system: System, profile: str) -> None:
    await system.temporal.workflow_service.poll_workflow_task_queue(
        PollWorkflowTaskQueueRequest(
            namespace=system.temporal.namespace, task_queue=TaskQueue(name=solve_queue(profile)), identity="gone"
        )
    )


async def test_a_request_that_is_worked_on_has_a_worker_whoever_polls(system: System, hold: Hold) -> None:
    request_id = uuid4().hex
    asked = asyncio.create_task(ask(system, f"[llm_hold=24:{hold} scores=32:0.9 slm_eos=5]", request_id=request_id))
    async with asyncio.timeout(BOUND_SECONDS):
        while not system.llm.running:
            await asyncio.sleep(0.01)
    await workers(system).must_be_there(request_id, NOBODYS)
    hold.release()
    assert (await asked)["answer"]


async def test_a_request_that_waits_while_workers_poll_has_one(system: System) -> None:
    request_id = uuid4().hex
    handle = await system.temporal.start_workflow(SOLVE_WORKFLOW, id=request_id, task_queue=solve_queue(NOBODYS))
    patience = timedelta(minutes=2)
    await workers(system, Patience(patience, patience, patience)).must_be_there(request_id, "scripted")
    await handle.terminate()
