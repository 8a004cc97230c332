"""Batches through the real gateway, Temporal and file store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.service import RPCError, RPCStatusCode

from tandem import RequestError
from tandem.client.batches import new_batch
from tandem.method.request.batch import PAGE_SIZE
from tandem.v1 import batch_pb2
from tests.conftest import Hold
from tests.integration.conftest import System, run_system

pytestmark = pytest.mark.asyncio(loop_scope="session")
QUICK = "[scores=0:0.9 slm_eos=5]"
Lines = list[dict[str, Any]]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def batching(
    redis_url: str, temporal_address: str, profiles_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[System]:
    """A system with a file store."""
    files = str(tmp_path_factory.mktemp("files"))
    async with run_system(
        "scripted", profiles_folder, redis_url, temporal_address, alias="batch", files=files
    ) as system:
        yield system


async def upload(system: System, lines: Sequence[object]) -> str:
    async def content() -> AsyncIterator[bytes]:
        for line in lines:
            yield json.dumps(line).encode() + b"\n"

    return (await system.client.batches.upload("questions.jsonl", content())).file_id


async def run(system: System, lines: Sequence[object], **options: Any) -> batch_pb2.Batch:
    created = await system.client.batches.create(new_batch(await upload(system, lines), **options))
    return await end(system, created.batch_id)


async def end(system: System, batch_id: str) -> batch_pb2.Batch:
    async with asyncio.timeout(120):
        while not (batch := await system.client.batches.get(batch_id)).HasField("ended_at_unix_ms"):
            await asyncio.sleep(0.05)
    return batch


async def read(system: System, file_id: str) -> Lines:
    content = b"".join([piece async for piece in system.client.batches.read(file_id)])
    return [json.loads(line) for line in content.splitlines()]


def plain(count: int, script: str = QUICK) -> Lines:
    return [{"id": f"q{number}", "question": f"{script} {number}"} for number in range(count)]


def openai(custom_id: str, script: str = QUICK, **body: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": script}]
    body = {"model": "scripted-batch@0.8", "messages": messages, **body}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}


async def test_every_question_of_two_pages_is_answered_in_order_and_its_cost_is_the_ledgers(
    batching: System,
) -> None:
    batch = await run(batching, plain(PAGE_SIZE + 20), concurrency=16)
    answers = await read(batching, batch.output_file_id)
    assert batch.state == batch_pb2.BATCH_STATE_COMPLETED
    assert (batch.counts.total, batch.counts.answered, batch.error_file_id) == (PAGE_SIZE + 20, PAGE_SIZE + 20, "")
    assert [line["id"] for line in answers] == [f"q{number}" for number in range(PAGE_SIZE + 20)]
    assert batch.usd == pytest.approx(sum(line["cost"]["usd"] for line in answers), abs=1e-12)
    stored = await batching.client.get(answers[7]["request_id"])
    assert (stored.result.cost.usd, stored.result.answer) == (answers[7]["cost"]["usd"], answers[7]["answer"])
    request = await batching.temporal.get_workflow_handle(answers[7]["request_id"]).describe()
    priority = request.raw_description.workflow_execution_info.priority
    assert priority.priority_key == 4  # after all that somebody waits for
    assert priority.fairness_key == ""  # without a file of tenants, anybody names any tenant


async def test_openais_lines_are_answered_in_openais_form_and_failures_are_in_a_file_of_their_own(
    batching: System,
) -> None:
    lines = [openai("fine", metadata={"lab": "7"}), openai("broken", "[fail=slm scores=0:0.9]")]
    batch = await run(batching, lines)
    [answer] = await read(batching, batch.output_file_id)
    [error] = await read(batching, batch.error_file_id)
    body = answer["response"]["body"]
    assert (answer["custom_id"], answer["response"]["status_code"], answer["error"]) == ("fine", 200, None)
    assert (body["object"], body["choices"][0]["message"]["content"], body["tandem"]["metadata"]) == (
        "chat.completion",
        "y y",
        {"lab": "7"},
    )
    assert (error["custom_id"], error["response"], error["error"]["code"]) == ("broken", None, "slm_unavailable")
    assert (batch.counts.answered, batch.counts.failed) == (1, 1)
    assert batch.usd == pytest.approx(body["usage"]["cost"] + error["cost_usd"], abs=1e-12)
    assert error["cost_usd"] > 0


async def test_bad_lines_are_named_and_nothing_is_asked(batching: System) -> None:
    lines: list[Any] = [
        {"id": "a", "question": QUICK},
        {"id": "a", "question": "the same id"},
        {"id": "b", "question": QUICK, "colour": "red"},
        {"id": "c"},
        openai("d", tools=[{"type": "function"}]),
        openai("e", stream=True),
        {"id": "f", "question": "x" * 500},
        {"id": "g", "question": QUICK, "profile": "unknown"},
        "no object",
    ]
    file_id, batch_id = await upload(batching, lines), uuid4().hex
    with pytest.raises(RequestError) as refused:
        await batching.client.batches.create(new_batch(file_id, batch_id))
    problems = str(refused.value).splitlines()
    assert problems[0] == "8 of 9 lines are refused, so nothing is asked:"
    named = [problem.partition(":")[0] for problem in problems[1:]]
    assert named == [f"line {number}" for number in range(2, 10)]
    assert "another line is called 'a'" in problems[1]
    assert "colour" in problems[2]
    assert "tools" in problems[4]
    assert "400" in problems[6]
    with pytest.raises(RequestError, match="there is no batch"):
        await batching.client.batches.get(batch_id)
    with pytest.raises(RequestError, match="there is no request"):
        await batching.client.get(f"{batch_id}.1")


async def test_a_budget_that_is_exhausted_leaves_the_rest_unasked(batching: System) -> None:
    [alone] = await read(batching, (await run(batching, plain(1))).output_file_id)
    batch = await run(batching, plain(40), max_cost_usd=0.0025, concurrency=4)
    answers = await read(batching, batch.output_file_id)
    asked = [line for line in answers if line["error"] is None]
    assert batch.state == batch_pb2.BATCH_STATE_BUDGET_EXHAUSTED
    assert 0 < len(asked) == batch.counts.answered < 40
    assert batch.counts.unasked == 40 - len(asked)
    assert batch.usd <= 0.0025
    assert {line["error"]["code"] for line in answers[len(asked) :]} == {"budget_exhausted"}
    assert batch.usd == pytest.approx(len(asked) * alone["cost"]["usd"], rel=0.1)


async def test_a_cancel_stops_those_in_flight_and_writes_what_is_there(batching: System, hold: Hold) -> None:
    lines = [*plain(3), *plain(5, f"[scores=0:0.9 slm_hold=2:{hold}]")]
    lines = [{**line, "id": str(number)} for number, line in enumerate(lines)]
    created = await batching.client.batches.create(new_batch(await upload(batching, lines), concurrency=2))
    async with asyncio.timeout(120):
        while (
            len(batching.slm.running) < 2 or (await batching.client.batches.get(created.batch_id)).counts.answered < 3
        ):
            await asyncio.sleep(0.05)
    cancelled = await batching.client.batches.cancel(created.batch_id)
    assert cancelled.state == batch_pb2.BATCH_STATE_CANCELLING
    batch = await end(batching, created.batch_id)
    answers = await read(batching, batch.output_file_id)
    assert batch.state == batch_pb2.BATCH_STATE_CANCELLED
    assert (batch.counts.answered, batch.counts.cancelled, batch.counts.unasked) == (3, 2, 3)
    assert [line["error"] and line["error"]["code"] for line in answers] == [
        *[None] * 3, *["cancelled"] * 2, *["batch_cancelled"] * 3,
    ]  # fmt: skip
    assert batch.usd == pytest.approx(sum(line["cost"]["usd"] for line in answers[:5]), abs=1e-12)
    assert (await batching.client.batches.cancel(created.batch_id)).state == batch_pb2.BATCH_STATE_CANCELLED


async def test_a_repeated_batch_joins_and_another_one_under_its_id_is_refused(batching: System) -> None:
    batch_id, lines = f"again-{uuid4().hex}", plain(4)
    first = await run(batching, lines, batch_id=batch_id)
    before = batching.slm.counters.output_tokens
    second = await batching.client.batches.create(new_batch(await upload(batching, lines), batch_id))
    assert (second.usd, second.output_file_id) == (first.usd, first.output_file_id)
    assert batching.slm.counters.output_tokens == before
    with pytest.raises(RequestError) as refused:
        await batching.client.batches.create(new_batch(await upload(batching, plain(5)), batch_id))
    assert refused.value.reason == "BATCH_ID_REUSED"


async def test_a_request_of_a_batch_is_paid_once_however_often_it_is_asked(batching: System) -> None:
    """Somebody asked the very same request under its id before: the batch joins it."""
    batch_id, [line] = f"once-{uuid4().hex}", plain(1)
    asked = await batching.client.ask(line["question"], request_id=f"{batch_id}.1")
    before = batching.slm.counters.output_tokens
    batch = await run(batching, [line], batch_id=batch_id)
    assert (batch.counts.answered, batch.usd) == (1, asked.cost.usd)
    assert batching.slm.counters.output_tokens == before


async def test_an_id_that_is_another_requests_fails_its_line_alone(batching: System) -> None:
    batch_id = f"taken-{uuid4().hex}"
    await batching.client.ask(f"{QUICK} something else", request_id=f"{batch_id}.1")
    batch = await run(batching, plain(2), batch_id=batch_id)
    answers = await read(batching, batch.output_file_id)
    assert (batch.counts.answered, batch.counts.failed) == (1, 1)
    assert answers[0]["error"]["code"] == "request_id_reused"


async def test_a_window_that_is_over_asks_nothing_more(batching: System) -> None:
    batch = await run(batching, plain(60, "[scores=0:0.9 slm_eos=40 ms=10]"), concurrency=1, window_seconds=1)
    assert batch.state == batch_pb2.BATCH_STATE_EXPIRED
    assert batch.counts.unasked > 0
    assert (await read(batching, batch.output_file_id))[-1]["error"]["code"] == "batch_expired"


async def test_batches_are_listed_newest_first_and_by_pages(batching: System) -> None:
    made = [(await run(batching, plain(1))).batch_id for _ in range(3)]
    first = await batching.client.batches.list(limit=2)
    assert [batch.batch_id for batch in first.batches] == [made[2], made[1]]
    assert first.has_more
    rest = await batching.client.batches.list(limit=1, after=made[1])
    assert [batch.batch_id for batch in rest.batches] == [made[0]]


async def test_a_gateway_without_a_store_says_so(system: System) -> None:
    with pytest.raises(RequestError) as refused:
        await upload(system, plain(1))
    assert refused.value.reason == "NO_FILE_STORE"
    assert "TANDEM_FILES" in str(refused.value)


async def test_no_id_leaves_the_callers_folder(batching: System) -> None:
    for name in ("..", ".", "", "../../anonymous/files/x", "a/../b", "..%2fx"):
        with pytest.raises(RequestError) as unknown:
            await read(batching, name)
        assert unknown.value.code.name == "NOT_FOUND"


async def test_a_batch_that_temporal_has_lost_is_told_at_once_and_begins_again_when_it_is_asked_again(
    batching: System, hold: Hold
) -> None:
    wanted = new_batch(await upload(batching, plain(1, f"[scores=0:0.9 slm_eos=5 slm_hold=2:{hold}]")), uuid4().hex)
    await batching.client.batches.create(wanted)
    await lose(batching, wanted.batch_id)
    lost = await batching.client.batches.get(wanted.batch_id)
    assert lost.state == batch_pb2.BATCH_STATE_FAILED
    assert "Temporal does not know this batch" in lost.error
    hold.release()
    await batching.client.batches.create(wanted)
    assert (await end(batching, wanted.batch_id)).counts.answered == 1


async def lose(system: System, batch_id: str) -> None:
    """As Temporal does whose database is lost."""
    request = DeleteWorkflowExecutionRequest(
        namespace=system.temporal.namespace, workflow_execution=WorkflowExecution(workflow_id=batch_id)
    )
    await system.temporal.workflow_service.delete_workflow_execution(request)
    async with asyncio.timeout(120):
        while await is_known(system, batch_id):
            await asyncio.sleep(0.1)


async def is_known(system: System, batch_id: str) -> bool:
    try:
        await system.temporal.get_workflow_handle(batch_id).describe()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return False
    return True
