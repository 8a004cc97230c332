"""A batch's requests are on no account: whoever has limits gets none."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from tandem import RequestError
from tandem.client.batches import new_batch
from tandem.v1 import batch_pb2
from tests.integration.edge import serving
from tests.integration.tenants.limiting import BRIEF, Limited, until

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def upload(limited: Limited, *tenants: str) -> str:
    """A file with a question of each tenant."""

    async def content() -> AsyncIterator[bytes]:
        for tenant in tenants:
            yield json.dumps({"question": BRIEF, "tenant": tenant}).encode() + b"\n"

    return (await limited.system.client.batches.upload("questions.jsonl", content())).file_id


async def refused(limited: Limited, file_id: str) -> RequestError:
    with pytest.raises(RequestError) as refused:
        await limited.system.client.batches.create(new_batch(file_id, batch_id=f"of-{file_id}"))
    return refused.value


@pytest.mark.parametrize("limits", [{"usd_per_day": 5.0}, {"profiles": ["scripted-batches"]}], ids=str)
async def test_a_batch_with_a_question_of_a_tenant_with_limits_is_refused_until_they_are_gone(
    limited: Limited, limits: dict[str, object]
) -> None:
    tenant, free = limited.tenant(**limits), limited.tenant()
    file_id, batches = await upload(limited, free, tenant), limited.system.client.batches
    error = await refused(limited, file_id)
    assert (error.code.name, error.reason) == ("FAILED_PRECONDITION", "BATCHES_NOT_LIMITED")
    assert repr(tenant) in str(error)
    assert "one by one" in str(error)
    with pytest.raises(RequestError) as unknown:
        await batches.get(f"of-{file_id}")
    assert unknown.value.code.name == "NOT_FOUND"
    limited.file.set(tenant, dict.fromkeys(limits))
    batch_id = (await batches.create(new_batch(file_id, batch_id=f"of-{file_id}"))).batch_id
    batch = await until(lambda: batches.get(batch_id), lambda batch: batch.HasField("ended_at_unix_ms"))
    assert (batch.state, batch.counts.answered) == (batch_pb2.BATCH_STATE_COMPLETED, 2)


async def test_the_requests_of_a_batch_take_turns_as_their_tenants_others_do(limited: Limited) -> None:
    tenants, batches = (limited.tenant(), limited.tenant()), limited.system.client.batches
    created = await batches.create(new_batch(await upload(limited, *tenants)))
    await until(lambda: batches.get(created.batch_id), lambda batch: batch.HasField("ended_at_unix_ms"))
    for number, tenant in enumerate(tenants, 1):
        request = await limited.system.temporal.get_workflow_handle(f"{created.batch_id}.{number}").describe()
        priority = request.raw_description.workflow_execution_info.priority
        assert (priority.priority_key, priority.fairness_key) == (4, tenant)


async def test_http_forbids_a_batch_to_a_tenant_with_limits(limited: Limited) -> None:
    file_id = await upload(limited, limited.tenant(concurrent_requests=1))
    asked = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    async with serving(limited.system.client.address) as http:
        reply = await http.post("/v1/batches", json=asked)
    assert (reply.status_code, reply.json()["error"]["code"]) == (403, "batches_not_limited")
