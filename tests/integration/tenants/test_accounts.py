"""Every request is charged once, and what it cost, whatever dies meanwhile."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from datetime import datetime
from uuid import uuid4

import grpc
import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError

from services.gateway.tenancy import LOOK_AFTER
from services.gateway.visibility import Spent
from services.shared.request_log.accounts import AccountLimits, Hold
from tandem import InsightDelta, RequestError
from tandem.client.request import solve_request
from tandem.method.request.charge import Charge
from tandem.method.tokens import TokenCounts
from tandem.v1 import tandem_pb2
from tests.conftest import Hold as HoldFile
from tests.integration.asking import ended_timeline
from tests.integration.tenants.limiting import BRIEF, Limited, nano, refused, served, until

pytestmark = pytest.mark.asyncio(loop_scope="session")


# -- one request, one charge ------------------------------------------------------------------------------------------


async def test_callers_that_join_a_request_hold_nothing_more(limited: Limited, hold: HoldFile) -> None:
    tenant, name = limited.tenant(concurrent_requests=1, requests_per_minute=1), uuid4().hex
    question = f"[slm_hold=2:{hold} slm_eos=5 scores=0:0.9]"
    calls = [asyncio.create_task(served(limited, tenant, question, request_id=name)) for _ in range(20)]
    await limited.has(tenant, lambda standing: standing.concurrent_requests == 1)
    hold.release()
    [usd] = {result["cost"]["usd"] for result in await asyncio.gather(*calls)}
    again = await served(
        limited, tenant, question, request_id=name
    )  # it has ended, and the minute's request is used up
    assert again["cost"]["usd"] == usd
    standing = await limited.standing(tenant)
    assert (standing.requests_per_minute, standing.usd_per_day) == (1, nano(usd))


async def test_an_id_of_another_question_gives_its_hold_back(limited: Limited) -> None:
    tenant, name = limited.tenant(usd_per_day=1.0), uuid4().hex
    await served(limited, "somebody", request_id=name)
    error = await refused(limited.system.client, BRIEF, tenant=tenant, request_id=name)
    assert error.reason == "REQUEST_ID_REUSED"
    standing = await limited.standing(tenant)
    assert (standing.concurrent_requests, standing.requests_per_minute, standing.usd_per_day) == (0, 0, 0)


@pytest.mark.parametrize("by", ["call", "hanging up"])
async def test_a_cancelled_request_is_charged_what_it_cost(limited: Limited, by: str) -> None:
    tenant, name = limited.tenant(usd_per_day=1.0), uuid4().hex
    async with aclosing(limited.system.client.solve("[llm_hold=5]", request_id=name, tenant=tenant)) as events:
        async for event in events:
            if isinstance(event, InsightDelta):
                if by == "hanging up":
                    break
                await limited.system.client.cancel(name)
    standing = await limited.has(tenant, lambda standing: standing.concurrent_requests == 0)
    bill = (await limited.system.client.get(name)).result.cost.usd
    assert standing.usd_per_day == nano(bill) > 0


async def test_a_failed_request_is_charged_what_it_cost(limited: Limited) -> None:
    tenant, name = limited.tenant(usd_per_day=1.0), uuid4().hex
    await refused(limited.system.client, "[fail=slm scores=16:0.9]", tenant=tenant, request_id=name)
    bill = (await limited.system.client.get(name)).result.cost.usd
    assert (await limited.standing(tenant)).usd_per_day == nano(bill) > 0


async def test_a_hold_of_a_gateway_that_died_before_the_start_comes_back(limited: Limited) -> None:
    tenant = limited.tenant(concurrent_requests=1)
    await served(limited, tenant)
    now = limited.clock()
    hold = Hold(uuid4().hex, Charge(1000, 10), now, now + LOOK_AFTER)
    assert await limited.system.log.accounts.reserve(tenant, hold, AccountLimits(), now) is True
    assert (await refused(limited.system.client, BRIEF, tenant=tenant)).metadata["limit"] == "concurrent_requests"
    limited.clock.ahead = LOOK_AFTER
    await limited.look()
    await served(limited, tenant)


async def test_a_running_request_that_is_looked_into_stays_held(limited: Limited, hold: HoldFile) -> None:
    tenant = limited.tenant(concurrent_requests=1)
    task = asyncio.create_task(served(limited, tenant, f"[slm_hold=2:{hold} slm_eos=5 scores=0:0.9]"))
    await limited.has(tenant, lambda standing: standing.concurrent_requests == 1)
    limited.clock.ahead = LOOK_AFTER
    await limited.look()
    assert (await limited.standing(tenant)).concurrent_requests == 1
    hold.release()
    await task
    assert (await limited.standing(tenant)).concurrent_requests == 0


async def test_a_terminated_request_is_charged_its_bound(limited: Limited) -> None:
    tenant, name = limited.tenant(usd_per_day=1.0), uuid4().hex
    task = asyncio.create_task(limited.system.client.ask("[llm_hold=5]", tenant=tenant, request_id=name))
    held = (await limited.has(tenant, lambda standing: standing.concurrent_requests == 1)).usd_per_day
    handle = limited.system.temporal.get_workflow_handle(name)

    async def status() -> WorkflowExecutionStatus | None:
        with suppress(RPCError):  # the hold is there before the workflow
            return (await handle.describe()).status
        return None

    await until(status, lambda found: found is WorkflowExecutionStatus.RUNNING)
    await handle.terminate()
    with pytest.raises(RequestError):
        await task
    limited.clock.ahead = LOOK_AFTER
    await limited.look()
    standing = await limited.standing(tenant)
    assert (standing.concurrent_requests, standing.usd_per_day) == (0, held)


# -- what Redis lost --------------------------------------------------------------------------------------------------


async def test_an_account_that_redis_lost_is_rebuilt_from_temporal(limited: Limited, hold: HoldFile) -> None:
    tenant = limited.tenant(usd_per_day=1.0, concurrent_requests=4)
    bills = [nano((await served(limited, tenant))["cost"]["usd"]) for _ in range(3)]
    held = f"[slm_hold=2:{hold} slm_eos=5 scores=0:0.9]"
    running = [uuid4().hex for _ in range(2)]
    for name in running:
        request = solve_request(held, tenant=tenant, request_id=name, keep_running=True)
        async for event in limited.system.client._stub.Solve(request):
            if event.HasField("answer_delta"):
                break
    before = await limited.standing(tenant)
    await until(lambda: _listed(limited, tenant, "completed"), lambda found: found == 3)
    await until(lambda: _listed(limited, tenant, "running"), lambda found: found == 2)
    await limited.redis.flushall()
    bills.append(nano((await served(limited, tenant))["cost"]["usd"]))
    after = await limited.standing(tenant)
    assert (after.concurrent_requests, after.usd_per_day) == (2, before.usd_per_day + bills[-1])
    assert after.usd_per_month == after.usd_per_day
    hold.release()
    for name in running:
        await until(lambda: limited.system.client.get(name), lambda r: r.state == tandem_pb2.REQUEST_STATE_COMPLETED)  # noqa: B023
        bills.append(nano((await limited.system.client.get(name)).result.cost.usd))
    settled = await limited.has(tenant, lambda standing: standing.concurrent_requests == 0)
    assert settled.usd_per_day == sum(bills)


async def test_a_request_that_temporal_has_lost_is_charged_its_bound_and_told_of(
    limited: Limited, hold: HoldFile, caplog: pytest.LogCaptureFixture
) -> None:
    tenant, name = limited.tenant(usd_per_day=1.0), uuid4().hex
    question = f"[slm_hold=2:{hold} slm_eos=5 scores=0:0.9]"
    task = asyncio.create_task(limited.system.client.ask(question, tenant=tenant, request_id=name))
    held = (await limited.has(tenant, lambda standing: standing.concurrent_requests == 1)).usd_per_day
    ledger = limited.system.log.ledger
    await until(lambda: ledger.all_counts(name), lambda made: made != TokenCounts())
    temporal = limited.system.temporal
    await temporal.workflow_service.delete_workflow_execution(
        DeleteWorkflowExecutionRequest(
            namespace=temporal.namespace, workflow_execution=WorkflowExecution(workflow_id=name)
        )
    )
    with pytest.raises(RequestError):
        await task
    hold.release()
    with caplog.at_level("WARNING", logger="services.gateway.chores"):
        limited.clock.ahead = LOOK_AFTER
        await limited.look()
    settled = await limited.standing(tenant)
    assert (settled.concurrent_requests, settled.usd_per_day) == (0, held)
    [told] = [record.getMessage() for record in caplog.records if name in record.getMessage()]
    assert "has lost request" in told


async def test_callers_that_find_an_account_lost_at_once_rebuild_it_once(
    limited: Limited, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant, asked = limited.tenant(usd_per_day=1.0), []
    since = limited.system.tenancy._visibility.spent_since

    async def counted(tenant: str, moment: datetime) -> list[Spent]:
        asked.append(tenant)
        return await since(tenant, moment)

    monkeypatch.setattr(limited.system.tenancy._visibility, "spent_since", counted)
    bills = [r["cost"]["usd"] for r in await asyncio.gather(*(served(limited, tenant) for _ in range(12)))]
    assert asked == [tenant]
    assert (await limited.standing(tenant)).usd_per_day == sum(nano(bill) for bill in bills)


async def restored_as_running(limited: Limited) -> tuple[str, str, int]:
    """A tenant, its request that has ended, and the bill in nano USD, where the lost account was restored with the
    bound instead.
    """
    tenant, name = limited.tenant(usd_per_day=1.0), uuid4().hex
    bill = nano((await served(limited, tenant, request_id=name))["cost"]["usd"])
    await ended_timeline(limited.system, name)
    now = limited.clock()
    await limited.redis.flushall()
    await limited.system.log.accounts.restore(tenant, (0, 0), [Hold(name, Charge(10**6, 10), now, now)], now)
    return tenant, name, bill


async def test_a_request_that_temporal_still_shows_as_running_is_settled_when_somebody_looks(limited: Limited) -> None:
    tenant, _, bill = await restored_as_running(limited)
    limited.system.tenancy.see(tenant)
    await limited.look()
    standing = await limited.standing(tenant)
    assert (standing.concurrent_requests, standing.usd_per_day) == (0, bill)


async def test_a_request_whose_bill_is_not_on_its_account_is_not_deleted(limited: Limited) -> None:
    tenant, name, bill = await restored_as_running(limited)
    with pytest.raises(RequestError, match="try again in a minute"):
        await limited.system.client.delete(name)
    limited.system.tenancy.see(tenant)
    await limited.look()
    await limited.system.client.delete(name)
    assert (await limited.standing(tenant)).usd_per_day == bill


async def test_without_redis_a_tenant_with_limits_is_told_to_try_again(limited: Limited) -> None:
    tenant = limited.tenant(usd_per_day=1.0)
    await limited.redis.config_set("maxmemory", "1")
    try:
        error = await refused(limited.system.client, BRIEF, tenant=tenant)
    finally:
        await limited.redis.config_set("maxmemory", "0")
    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "REQUEST_LOG_UNAVAILABLE")


async def _listed(limited: Limited, tenant: str, state: str) -> int:
    return len((await limited.system.client.list(f"tenant = {tenant} and state = {state}")).requests)
