"""The workflow of a batch is deterministic, and goes on in a new run before its history grows too long.

`make histories` records the histories again, after a change that is meant to break running batches.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from services.shared.process.temporal import NOT_ENCRYPTED
from tandem.client.batches import new_batch
from tandem.local.ports import free_port
from tandem.local.probes import is_serving
from tandem.local.programs import TEMPORAL_FLAGS
from tandem.paths import find_binary
from tandem.v1 import batch_pb2
from tests.conftest import run_server
from tests.integration.conftest import System, run_system
from tests.integration.test_batch import end, plain, read, run, upload
from tests.integration.test_replay import RECORDED, anonymous
from workflows.batch import BatchWorkflow

pytestmark = pytest.mark.asyncio(loop_scope="session")
NAMES = ("batch", "batch_cancelled", "batch_continued")
_MOST_EVENTS = 150


@pytest.fixture(scope="module")
def impatient_temporal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Temporal server that suggests a new run after a few events."""
    program, file = str(find_binary("temporal")), str(tmp_path_factory.mktemp("temporal") / "temporal.db")
    limit = ["--dynamic-config-value", f"limit.historyCount.suggestContinueAsNew={_MOST_EVENTS}"]

    def command(port: int) -> list[str]:
        ports = ["--port", str(port), "--http-port", str(free_port()), "--metrics-port", str(free_port())]
        start = [program, "server", "start-dev", "--headless", "--ip", "127.0.0.1", *ports]
        return [*start, "--db-filename", file, "--log-level", "error", *TEMPORAL_FLAGS, *limit]

    with run_server(command, lambda port: is_serving(port, "temporal.api.workflowservice.v1.WorkflowService")) as port:
        yield f"127.0.0.1:{port}"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def batching(
    redis_url: str, impatient_temporal: str, profiles_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[System]:
    files = str(tmp_path_factory.mktemp("files"))
    async with run_system(
        "scripted", profiles_folder, redis_url, impatient_temporal, alias="batch", files=files
    ) as system:
        yield system


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def continued(batching: System) -> batch_pb2.Batch:
    """Of three runs."""
    return await run(batching, plain(210), concurrency=16)


async def history(system: System, name: str, continued: batch_pb2.Batch) -> WorkflowHistory:
    """Of a batch's last run."""
    batch_id = f"{name}-{uuid4().hex}"
    if name == "batch_continued":
        batch_id = continued.batch_id
    elif name == "batch_cancelled":
        lines = plain(3, "[scores=0:0.9 slm_hold=2]")
        await system.client.batches.create(new_batch(await upload(system, lines), batch_id, concurrency=2))
        await system.client.batches.cancel(batch_id)
        await end(system, batch_id)
    else:
        await run(system, plain(3), batch_id=batch_id, concurrency=16)
    return await system.temporal.get_workflow_handle(batch_id).fetch_history()


@pytest.mark.parametrize("name", NAMES)
async def test_a_history_of_today_replays(batching: System, continued: batch_pb2.Batch, name: str) -> None:
    found = await history(batching, name, continued)
    if os.environ.get("TANDEM_RECORD"):
        (RECORDED / f"{name}.json").write_text(anonymous(found))
    await Replayer(workflows=[BatchWorkflow], data_converter=NOT_ENCRYPTED).replay_workflow(found)


@pytest.mark.parametrize("name", NAMES)
async def test_a_recorded_history_replays(name: str) -> None:
    recorded = (RECORDED / f"{name}.json").read_text()
    await Replayer(workflows=[BatchWorkflow], data_converter=NOT_ENCRYPTED).replay_workflow(
        WorkflowHistory.from_json(name, recorded)
    )


async def test_a_batch_of_several_runs_asks_each_question_once_and_keeps_its_sums(
    batching: System, continued: batch_pb2.Batch
) -> None:
    batch, answers = continued, await read(batching, continued.output_file_id)
    handle = batching.temporal.get_workflow_handle(batch.batch_id)
    runs = [each async for each in batching.temporal.list_workflows(f"WorkflowId = '{batch.batch_id}'")]
    assert len(runs) == 3
    assert (await handle.describe()).raw_description.workflow_execution_info.history_length < 2000
    assert batch.state == batch_pb2.BATCH_STATE_COMPLETED
    assert [line["id"] for line in answers] == [f"q{number}" for number in range(210)]
    assert batch.usd == pytest.approx(sum(line["cost"]["usd"] for line in answers), abs=1e-12)
