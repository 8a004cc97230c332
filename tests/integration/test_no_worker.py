"""Where no worker serves a profile, a caller hears of it long before the request's deadline."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from services.gateway.records import AdmittedRequest
from services.gateway.workers import Workers
from tandem.method.errors import Unavailable
from tandem.method.names import SOLVE_WORKFLOW, solve_queue
from tests.conftest import Hold
from tests.integration.asking import BOUND_SECONDS, ask
from tests.integration.conftest import System

pytestmark = pytest.mark.asyncio(loop_scope="session")
NOBODYS = "nobodys-profile"


def workers(system: System, patience: timedelta = timedelta(seconds=1)) -> Workers:
    return Workers(system.temporal, patience)


async def test_who_waits_for_a_request_that_no_worker_takes_is_told_so(system: System) -> None:
    request_id = uuid4().hex
    handle = await system.temporal.start_workflow(SOLVE_WORKFLOW, id=request_id, task_queue=solve_queue(NOBODYS))
    watch = workers(system).watch(AdmittedRequest(request_id, "", NOBODYS, ()))
    with pytest.raises(Unavailable, match=NOBODYS) as told:
        await asyncio.wait_for(system.workflows.result(request_id, watch), BOUND_SECONDS)
    assert told.value.reason == "NO_WORKER"
    await handle.terminate()


async def test_a_request_that_is_worked_on_has_a_worker_whoever_polls(system: System, hold: Hold) -> None:
    request_id = uuid4().hex
    asked = asyncio.create_task(ask(system, f"[llm_hold=24:{hold} scores=32:0.9 slm_eos=5]", request_id=request_id))
    async with asyncio.timeout(BOUND_SECONDS):
        while not system.llm.running:
            await asyncio.sleep(0.01)
    await workers(system).must_be_there(AdmittedRequest(request_id, "", NOBODYS, ()))
    hold.release()
    assert (await asked)["answer"]


async def test_a_request_that_waits_while_workers_poll_has_one(system: System) -> None:
    request_id = uuid4().hex
    handle = await system.temporal.start_workflow(SOLVE_WORKFLOW, id=request_id, task_queue=solve_queue(NOBODYS))
    served = AdmittedRequest(request_id, "", "scripted", ())
    await workers(system, timedelta(minutes=2)).must_be_there(served)
    await handle.terminate()
