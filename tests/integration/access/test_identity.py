"""Tenants of one gateway: their ids, their lists, an admin that acts for them, and a key that is revoked."""

from __future__ import annotations

from contextlib import aclosing
from uuid import uuid4

import pytest

from services.http_gateway.lifetime import Readiness
from tandem import Accepted, AsyncClient, Completed, InsightDelta, RequestError
from tests.integration.access.guarded import QUESTION, Guarded
from tests.integration.asking import idle
from tests.integration.conftest import System

pytestmark = pytest.mark.asyncio(loop_scope="session")
LONG = "[ms=20] a long one"


async def test_two_tenants_use_one_id_for_two_requests(guarded: Guarded) -> None:
    tenant, other = guarded.clients["tenant"], guarded.clients["other"]
    request_id = uuid4().hex
    one = await tenant.ask("[scores=16:0.9 slm_eos=5] mine", request_id=request_id)
    two = await other.ask("[scores=16:0.9 slm_eos=7] yours", request_id=request_id)
    assert [one.request_id, two.request_id] == [request_id, request_id]
    assert [one.question, two.question] != [one.question, one.question]
    assert (await tenant.get(request_id)).result.question == one.question
    assert (await other.get(request_id)).result.question == two.question


async def test_a_list_has_ones_own_requests_alone(guarded: Guarded) -> None:
    tenant, other = guarded.clients["tenant"], guarded.clients["other"]
    yours, mine = (await tenant.ask(QUESTION)).request_id, (await other.ask(QUESTION)).request_id
    for where in ("", 'tenant = "tenant" or tenant = "other"', "stage >= 0 or stage < 0"):
        rows = (await other.list(where, limit=1000)).requests
        assert {row.tenant for row in rows} <= {"other"}, where
    rows: dict[str, str] = {}
    while not {f"tenant/{yours}", f"other/{mine}"} <= set(rows):  # Temporal lists a request a moment after its start
        found = (await guarded.clients["admin"].list(limit=1000)).requests
        rows = {row.request_id: row.tenant for row in found}
    assert [rows[f"tenant/{yours}"], rows[f"other/{mine}"]] == ["tenant", "other"]
    assert mine in {row.request_id for row in (await other.list(limit=1000)).requests}


async def test_an_admin_asks_for_a_tenant_who_then_owns_the_request(guarded: Guarded) -> None:
    admin, tenant = guarded.clients["admin"], guarded.clients["tenant"]
    request_id = uuid4().hex
    result = await admin.ask(QUESTION, tenant="tenant", request_id=request_id)
    assert result.request_id == f"tenant/{request_id}"
    assert (await tenant.get(request_id)).result.cost.usd == result.cost.usd


async def test_an_admin_that_leaves_stops_what_it_asked_for_a_tenant(guarded: Guarded) -> None:
    admin = guarded.clients["admin"]
    async with aclosing(admin.solve(LONG, tenant="tenant")) as stream:
        accepted = await anext(stream)
        assert isinstance(accepted, Accepted)
        async for event in stream:
            if isinstance(event, InsightDelta):
                break
    await idle(guarded.system)
    assert accepted.request_id.startswith("tenant/")


async def test_a_key_that_is_revoked_is_refused_at_its_next_call_and_its_request_goes_on(guarded: Guarded) -> None:
    key, credential = guarded.keys.create("tenant")
    async with AsyncClient(guarded.system.client.address, credential) as client:
        stream = client.solve("[ms=5 scores=16:0.9 slm_eos=5]")
        await anext(stream)
        guarded.keys.revoke(key.id)
        with pytest.raises(RequestError) as refused:
            await client.profiles()
        assert refused.value.code.name == "UNAUTHENTICATED"
        assert [event async for event in stream if isinstance(event, Completed)]


async def test_http_opens_no_gateway_to_others_that_asks_nobody_who_it_is(system: System, guarded: Guarded) -> None:
    reasons = []
    for address in (system.client.address, guarded.address):
        async with AsyncClient(address) as client:
            reasons.append(await Readiness(client, may_be_open=False).reason_against())
    assert ("TANDEM_ALLOW_ANONYMOUS" in reasons[0], reasons[1]) == (True, "")
