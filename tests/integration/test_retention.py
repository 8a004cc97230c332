"""One setting says how long text is kept: Temporal's namespace and the files of batches follow it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import grpc
import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, RegisterNamespaceRequest
from temporalio.client import Client as TemporalClient
from temporalio.service import RPCError

from services.gateway.__main__ import GatewaySettings
from services.gateway.batches.retention import Retention
from services.gateway.batches.temporal import BatchWorkflows
from services.shared.file_store import paths
from services.shared.file_store.records import BatchRecord, Records
from services.shared.file_store.store import FileStore
from tandem import RequestError
from tandem.client.batches import new_batch
from tandem.local import planning
from tandem.local.layout import StackError
from tests.conftest import Hold
from tests.integration.asking import BOUND_SECONDS
from tests.integration.conftest import System, run_system
from tests.integration.test_batch import QUICK, end, plain, read, run, upload
from tests.stacks import environment
from workflows.setup import _set_retention, set_retention

pytestmark = pytest.mark.asyncio(loop_scope="session")
KEPT = timedelta(hours=2)
LATER = KEPT.total_seconds() + 60


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FileStore:
    return FileStore(str(tmp_path_factory.mktemp("files")))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def batching(
    redis_url: str, temporal_address: str, profiles_folder: Path, store: FileStore
) -> AsyncIterator[System]:
    async with run_system(
        "scripted", profiles_folder, redis_url, temporal_address, alias="retention", files=store._root
    ) as system:
        yield system


@pytest.fixture
def retention(store: FileStore, batching: System) -> Retention:
    return Retention(store, BatchWorkflows(batching.temporal, is_searchable=False), KEPT)


def contents(store: FileStore) -> list[str]:
    return [str(path) for path in Path(store._root).rglob("*") if path.is_file()]


@pytest_asyncio.fixture(loop_scope="session")
async def namespace(temporal_address: str) -> TemporalClient:
    """A client of a namespace of its own."""
    name, day = f"kept-{uuid4().hex}", Duration(seconds=86400)
    client = await TemporalClient.connect(temporal_address, namespace=name)
    await client.workflow_service.register_namespace(
        RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=day)
    )
    async with asyncio.timeout(BOUND_SECONDS):
        while await retention_of(client) is None:
            await asyncio.sleep(0.1)
    return client


async def retention_of(client: TemporalClient) -> timedelta | None:
    """None while the server does not know the namespace yet."""
    try:
        found = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    except RPCError:
        return None
    return found.config.workflow_execution_retention_ttl.ToTimedelta()


async def test_temporals_namespace_keeps_workflows_as_long_as_the_setting_says(namespace: TemporalClient) -> None:
    assert await set_retention(namespace, KEPT) == timedelta(days=1)
    assert await retention_of(namespace) == KEPT
    assert await set_retention(namespace, KEPT) is None


async def test_a_retention_that_temporal_refuses_ends_the_setup(namespace: TemporalClient) -> None:
    with pytest.raises(SystemExit, match="was not set to 0:10:00"):
        await _set_retention(namespace, timedelta(minutes=10))
    assert await retention_of(namespace) == timedelta(days=1)


async def test_the_local_stack_sets_it_too_or_says_why_not(temporal_address: str) -> None:
    client = await TemporalClient.connect(temporal_address)
    before = await retention_of(client)
    assert before
    with environment({"TANDEM_RETENTION": "PT3H"}):
        await asyncio.to_thread(planning.set_retention, temporal_address)
    assert await retention_of(client) == timedelta(hours=3)
    await set_retention(client, before)
    with environment({"TANDEM_RETENTION": "PT1M"}), pytest.raises(StackError, match="TANDEM_RETENTION"):
        await asyncio.to_thread(planning.set_retention, temporal_address)


async def test_a_retention_below_temporals_least_is_refused_at_start() -> None:
    for value in ("59", "PT59M"):
        with pytest.raises(ValueError, match="greater than or equal to"):
            GatewaySettings(TANDEM_RETENTION=value)
    assert GatewaySettings(TANDEM_RETENTION="P7D").retention == timedelta(days=7)
    assert GatewaySettings().retention is None


async def test_a_batch_and_its_files_are_erased_after_their_retention_and_not_before(
    batching: System, store: FileStore, retention: Retention
) -> None:
    batch = await run(batching, [*plain(3), {"id": "none", "question": "[fail=slm fail=llm]", "max_llm_tokens": 0}])
    assert await read(batching, batch.output_file_id)
    before = contents(store)
    assert await retention.erase(time.time() + KEPT.total_seconds() - 60) == 0
    assert contents(store) == before
    assert await retention.erase(time.time() + LATER) > 0
    assert contents(store) == []
    for call in (
        batching.client.batches.get(batch.batch_id),
        read(batching, batch.input_file_id),
        read(batching, batch.output_file_id),
    ):
        with pytest.raises(RequestError) as caught:
            await call
        assert caught.value.code == grpc.StatusCode.NOT_FOUND
    assert await retention.erase(time.time() + LATER) == 0


async def test_a_batch_that_runs_is_not_erased_however_old_it_is(
    batching: System, store: FileStore, retention: Retention, hold: Hold
) -> None:
    script = f"[llm_hold=8:{hold} scores=16:0.9 slm_eos=5]"
    created = await batching.client.batches.create(new_batch(await upload(batching, plain(2, script))))
    await retention.erase(time.time() + LATER)
    assert contents(store)
    hold.release()
    batch = await end(batching, created.batch_id)
    assert len(await read(batching, batch.output_file_id)) == 2
    await retention.erase(time.time() + LATER)
    assert contents(store) == []


async def test_what_no_batch_owns_is_erased_too_and_other_folders_are_left_alone(
    store: FileStore, retention: Retention
) -> None:
    folder = paths.batch_folder("acme", "never-began", "0")
    record = BatchRecord("never-began", folder, "0", "scripted", "file-1", 1, 1, None, time.time(), 0.0, {})
    Records(store).write_batch("acme", record)
    for path in (
        paths.requests_path(folder, 0),
        paths.requests_path(paths.batch_folder("acme", "refused", "1"), 0),
        paths.file_path("acme", "file-without-a-description"),
    ):
        store.write(path, [QUICK.encode()])
    store.write("another-application/files/1", [b"not ours"])
    assert await retention.erase(time.time() + LATER) == 3
    assert [Path(path).name for path in contents(store)] == ["1"]
    store.delete_folder("another-application")
