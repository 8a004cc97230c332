"""Requests are found by what they cost and where they stopped."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import uuid4

import pytest

from tandem import RequestError, to_dict
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
