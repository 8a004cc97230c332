"""Requests are found by what they cost and where they stopped."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import grpc
import pytest

from services.gateway.visibility import PageToken
from tandem import RequestError, to_dict
from tandem.errors import from_rpc
from tandem.v1 import tandem_pb2
from tests.integration.asking import BOUND_SECONDS
from tests.integration.conftest import System

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def found(system: System, where: str, at_least: int) -> list[dict[str, Any]]:
    """Temporal lists a workflow a moment after its end."""
    deadline = time.monotonic() + BOUND_SECONDS
    while time.monotonic() < deadline:
        rows = [to_dict(row) for row in (await system.client.list(where)).requests]
        if len(rows) >= at_least:
            return rows
        await asyncio.sleep(0.05)
    raise AssertionError(f"{where} finds {rows}")


async def test_requests_are_found_by_cost_stage_reason_and_tenant(system: System) -> None:
    tenant = uuid4().hex
    early = to_dict(await system.client.ask("[scores=16:0.9 slm_eos=5]", tenant=tenant))
    late = to_dict(await system.client.ask("[scores=48:0.9 slm_eos=25]", tenant=tenant))
    every = await found(system, f"tenant = {tenant} and state = completed", 2)
    assert [row["request_id"] for row in every] == [late["request_id"], early["request_id"]]  # newest first
    assert {row["usd"] for row in every} == {early["cost"]["usd"], late["cost"]["usd"]}
    assert every[0]["trace_id"] == late["trace_id"]
    assert (every[0]["stage"], every[0]["reason"], every[0]["state"]) == (3, "sufficient", "completed")
    middle = (early["cost"]["usd"] + late["cost"]["usd"]) / 2
    for where in (f"cost > {middle:.12f}", "stage >= 2", "stage = 3 and reason = sufficient"):
        [row] = await found(system, f"tenant = {tenant} and {where}", 1)
        assert row["request_id"] == late["request_id"], where


async def test_a_list_comes_in_pages_that_have_each_request_once(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.service._MOST_LISTED", 2)
    tenant = uuid4().hex
    ids = [(await system.client.ask("[scores=0:0.9 slm_eos=2]", tenant=tenant)).request_id for _ in range(5)]
    where = f"tenant = {tenant}"
    await found(system, where, len(ids))  # the client asks for page after page
    pages, token = [], ""
    while token or not pages:
        asked = tandem_pb2.ListRequestsRequest(where=where, limit=1000, page_token=token)
        page = await system.client._stub.ListRequests(asked)
        pages.append([row.request_id for row in page.requests])
        token = page.next_page_token
    assert pages == [ids[4:2:-1], ids[2:0:-1], ids[:1]]
    three = await system.client.list(where, 3)
    assert ([row.request_id for row in three.requests], three.next_page_token) == (ids[4:1:-1], "")


async def test_a_page_leaves_out_what_was_seen_of_its_first_moment(system: System) -> None:
    tenant, now = uuid4().hex, datetime.now(UTC)
    ids = {(await system.client.ask("[scores=0:0.9 slm_eos=2]", tenant=tenant)).request_id for _ in range(3)}
    await found(system, f"tenant = {tenant}", len(ids))
    for moment in (now + timedelta(hours=1), datetime.max.replace(tzinfo=UTC)):
        token = PageToken(moment, frozenset(sorted(ids)[:2]))
        asked = tandem_pb2.ListRequestsRequest(where=f"tenant = {tenant}", page_token=str(token))
        page = await system.client._stub.ListRequests(asked)
        assert {row.request_id for row in page.requests} == ids - token.seen
        assert PageToken.parse(str(token)) == token


@pytest.mark.parametrize("token", ["x", "9999-99-99T00:00:00+00:00 a", "0001-01-01T00:00:00+23:00", " ", "\x00"])
async def test_a_page_token_of_no_list_is_refused_by_name(system: System, token: str) -> None:
    asked = tandem_pb2.ListRequestsRequest(page_token=token)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await system.client._stub.ListRequests(asked)
    error = from_rpc(refused.value)
    assert (error.code, error.field) == (grpc.StatusCode.INVALID_ARGUMENT, "page_token")


async def test_a_failed_request_is_found_with_its_cost(system: System) -> None:
    tenant = uuid4().hex
    with pytest.raises(RequestError):
        await system.client.ask("[fail=slm scores=16:0.9]", tenant=tenant)
    [row] = await found(system, f'tenant = "{tenant}" and state = failed', 1)
    assert (row["usd"] > 0, row["saved_ratio"]) == (True, None)


@pytest.mark.parametrize(
    "where",
    [
        "cost",
        "colour = red",
        "cost > much",
        "cost > 1 or",
        "stage = 1 stage = 2",
        "state = odd",
        "cost > inf",
        "cost > 1_0",
        'profile = "\\" or tenant = ") or ExecutionStatus = 1 -- "',
        "profile = a\\",
        'tenant = "a\'b"',
        "tenant = `a`",
        "started > yesterday",
    ],
)
async def test_a_condition_that_cannot_be_parsed_is_refused(system: System, where: str) -> None:
    with pytest.raises(RequestError) as refused:
        await system.client.list(where)
    assert refused.value.field == "where"


async def test_a_tenant_has_a_length(system: System) -> None:
    with pytest.raises(RequestError) as refused:
        await system.client.ask("why?", tenant="x" * 65)
    assert refused.value.field == "tenant"
