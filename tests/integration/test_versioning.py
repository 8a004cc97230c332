"""An upgrade of the worker: running requests stay with the old build, new ones start on the new one, then the old may
go.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from temporalio.api.workflowservice.v1 import DescribeWorkerDeploymentRequest
from temporalio.client import Client, WorkflowHandle
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

from services.gateway.admission import Admission
from services.shared.process.search_attributes import KEYS
from tandem.method.names import SOLVE_WORKFLOW, solve_queue
from tandem.method.profile.profile import load_profile
from tandem.method.request.request import SolveRequest
from tests.conftest import Hold
from tests.integration.conftest import SANDBOX, System
from tests.stacks import environment
from workflows import setup
from workflows.activities.registry import Activities, ServiceAddresses
from workflows.setup import add_search_attributes
from workflows.versioning import Presence, Version, promote
from workflows.worker import WorkerSettings, make_workers

pytestmark = pytest.mark.asyncio(loop_scope="session")
PATIENCE, MOMENT = timedelta(seconds=120), timedelta(0)
LEASE = timedelta(seconds=3)
QUEUE = f"versioned-{uuid4().hex}"


@contextlib.asynccontextmanager
async def worker(system: System, version: Version) -> AsyncIterator[None]:
    addresses = ServiceAddresses(system.generator_address, system.scorer_address, system.executor_address)
    activities = Activities(addresses, system.log)
    settings = WorkerSettings(
        profile=QUEUE, deployment=version.deployment, build=version.build, drain=timedelta(seconds=5)
    )
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(activities.close)
        for each in make_workers(system.temporal, settings, activities, SANDBOX):
            await stack.enter_async_context(each)
        yield


async def start(system: System, profiles: Path, question: str) -> WorkflowHandle[Any, Any]:
    admission = Admission({"scripted": load_profile("scripted", (profiles,))}, "scripted", {"scripted": len})
    task = admission.admit(SolveRequest(request_id=uuid4().hex, question=question, profile="scripted"), "")
    task = replace(task, plan=replace(task.plan, profile=QUEUE))
    return await system.temporal.start_workflow(
        SOLVE_WORKFLOW, task, id=task.request_id, task_queue=solve_queue(QUEUE), result_type=dict
    )


async def build_of(handle: WorkflowHandle[Any, Any]) -> str:
    info = (await handle.describe()).raw_description.workflow_execution_info
    return str(info.versioning_info.deployment_version.build_id)


async def test_an_upgrade_leaves_running_requests_to_the_build_that_they_began_with(
    system: System, profiles_folder: Path, hold: Hold
) -> None:
    deployment = f"tandem-{uuid4().hex}"
    old, new = Version(deployment, "old"), Version(deployment, "new")
    leaving = Presence(system.temporal, system.log, old, QUEUE, "the old worker")
    async with worker(system, old):
        await promote(system.temporal, old, PATIENCE)
        assert not await leaving.wait_until_dispensable(MOMENT)  # it is the current version's only one
        running = await start(system, profiles_folder, f"[llm_hold=5:{hold}]")
        async with worker(system, new):
            await promote(system.temporal, new, PATIENCE)
            await promote(system.temporal, new, PATIENCE)  # again changes nothing
            later = await start(system, profiles_folder, "[scores=16:0.9 slm_eos=5]")
            assert (await later.result())["stop"]["reason"] == "sufficient"
            assert await build_of(later) == "new"
            assert not await leaving.wait_until_dispensable(MOMENT)  # its request still runs
            hold.release()
            assert (await running.result())["stop"]["reason"] == "best_stage"
            assert await build_of(running) == "old"
            assert await leaving.wait_until_dispensable(PATIENCE)


async def test_a_worker_may_go_at_once_where_another_of_its_build_is_there(system: System) -> None:
    version = Version(f"tandem-{uuid4().hex}", "same")
    async with worker(system, version):
        await promote(system.temporal, version, PATIENCE)
        one, other = (Presence(system.temporal, system.log, version, QUEUE, name) for name in ("one", "other"))
        third = Presence(system.temporal, system.log, version, "another profile", "third")
        await one.renew()
        await other.renew()
        await third.renew()
        assert await one.wait_until_dispensable(MOMENT)
        assert not await other.wait_until_dispensable(MOMENT)  # the third polls other queues


@contextlib.asynccontextmanager
async def present(system: System, version: Version, name: str, *, polls: bool = True) -> AsyncIterator[Presence]:
    """A worker with its lease, which takes over where nobody else would; at the end it drains.

    One process cannot poll for a build twice: the second worker of a build has a lease alone.
    """
    async with worker(system, version) if polls else contextlib.nullcontext():
        presence = Presence(system.temporal, system.log, version, QUEUE, name, LEASE)
        tasks = [asyncio.create_task(presence.keep()), asyncio.create_task(presence.take_over())]
        try:
            yield presence
        finally:
            for task in tasks:
                task.cancel()
        assert await presence.wait_until_dispensable(PATIENCE)


async def current_build(system: System, deployment: str) -> str:
    request = DescribeWorkerDeploymentRequest(namespace=system.temporal.namespace, deployment_name=deployment)
    service = system.temporal.workflow_service
    found = await service.describe_worker_deployment(request, retry=True)  # it refuses some of those who ask at once
    return found.worker_deployment_info.routing_config.current_deployment_version.build_id


async def until_current(system: System, version: Version) -> None:
    async with asyncio.timeout(PATIENCE.total_seconds()):
        while True:
            with contextlib.suppress(RPCError):  # Temporal does not know the deployment yet
                if await current_build(system, version.deployment) == version.build:
                    return
            await asyncio.sleep(1)


@contextlib.asynccontextmanager
async def ask_on_and_on(system: System, profiles: Path, asked: list[WorkflowHandle[Any, Any]]) -> AsyncIterator[None]:
    is_over = asyncio.Event()

    async def ask() -> None:
        while not is_over.is_set():
            asked.append(await start(system, profiles, "[scores=16:0.9 slm_eos=5]"))
            await asyncio.sleep(0.2)

    task = asyncio.create_task(ask())
    try:
        yield
    finally:
        is_over.set()
        await task


async def test_requests_pass_from_build_to_build_and_back_when_nobody_tells_temporal(
    system: System, profiles_folder: Path
) -> None:
    """What a server-side apply without hooks does: the new worker comes, then the old one drains."""
    deployment = f"tandem-{uuid4().hex}"
    old, new = Version(deployment, "old"), Version(deployment, "new")
    asked: list[WorkflowHandle[Any, Any]] = []
    async with contextlib.AsyncExitStack() as whole:
        news, returned, asking = [await whole.enter_async_context(contextlib.AsyncExitStack()) for _ in range(3)]
        async with present(system, old, "old"):
            await until_current(system, old)  # nothing was current
            await asking.enter_async_context(ask_on_and_on(system, profiles_folder, asked))
            await news.enter_async_context(present(system, new, "new"))
            async with present(system, old, "old, restarted", polls=False):
                assert await current_build(system, deployment) == "old"
        await until_current(system, new)
        async with present(system, old, "old again", polls=False):
            assert await current_build(system, deployment) == "new"  # it takes nothing from workers that are there
            await returned.enter_async_context(present(system, old, "the way back"))
        await news.aclose()
        await until_current(system, old)
        await asking.aclose()
        results = [await handle.result() for handle in asked]
        await Presence(system.temporal, system.log, old, QUEUE, "its successor", LEASE).renew()
    assert {result["stop"]["reason"] for result in results} == {"sufficient"}
    assert {await build_of(handle) for handle in asked} == {"old", "new"}


async def test_a_version_whose_workers_died_gives_way(system: System) -> None:
    deployment = f"tandem-{uuid4().hex}"
    dead, alive = Version(deployment, "dead"), Version(deployment, "alive")
    async with worker(system, dead):
        await promote(system.temporal, dead, PATIENCE)
    async with present(system, alive, "alive"):
        await until_current(system, alive)
        await Presence(system.temporal, system.log, alive, QUEUE, "its successor", LEASE).renew()


async def test_search_attributes_that_a_namespace_lacks_are_added_once(system: System) -> None:
    key = SearchAttributeKey.for_int(f"Tandem{uuid4().hex}")
    assert await add_search_attributes(system.temporal, [*KEYS, key]) == [key.name]
    assert await add_search_attributes(system.temporal, [*KEYS, key]) == []


async def test_new_requests_start_on_the_new_build_also_where_the_retention_is_refused(
    system: System, profiles_folder: Path, temporal_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(client: Client, kept: timedelta) -> None:
        raise RPCError("not allowed", RPCStatusCode.PERMISSION_DENIED, b"")

    monkeypatch.setattr(setup, "set_retention", refuse)
    version = Version(f"tandem-{uuid4().hex}", "new")
    names = {"TANDEM_DEPLOYMENT": version.deployment, "TANDEM_BUILD": version.build, "TANDEM_RETENTION": "PT2H"}
    async with worker(system, version):
        with (
            environment({**names, "TEMPORAL_ADDRESS": temporal_address}),
            pytest.raises(SystemExit, match="not allowed"),
        ):
            await setup.main()
        asked = await start(system, profiles_folder, "[scores=16:0.9 slm_eos=5]")
        assert (await asked.result())["stop"]["reason"] == "sufficient"
        assert await build_of(asked) == "new"


async def test_a_version_without_workers_is_not_promoted(system: System) -> None:
    with pytest.raises(RPCError):
        await promote(system.temporal, Version(f"tandem-{uuid4().hex}", "none"), MOMENT)
