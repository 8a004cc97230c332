"""No tenant uses more than its limits, whatever its callers do at once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import uuid4

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from prometheus_client import REGISTRY

from services.shared.observability.tenant_metrics import OTHERS
from tandem import RequestError
from tandem.client.request import solve_request
from tests.conftest import Hold as HoldFile
from tests.integration.edge import ask as ask_http
from tests.integration.edge import serving
from tests.integration.tenants.limiting import BRIEF, Limited, nano, refused, served, until

pytestmark = pytest.mark.asyncio(loop_scope="session")


# -- never over the limit ---------------------------------------------------------------------------------------------


async def test_64_callers_with_a_budget_for_100_requests_never_spend_a_cent_above_it(limited: Limited) -> None:
    [price] = {(await served(limited, "somebody"))["cost"]["usd"] for _ in range(3)}
    tenant = limited.tenant(usd_per_day=100 * price, concurrent_requests=32)
    bills: list[float] = []
    most: list[int] = []

    codes: set[grpc.StatusCode] = set()

    async def call_until_there_is_no_money() -> None:
        while True:
            try:
                bills.append((await served(limited, tenant))["cost"]["usd"])
            except RequestError as error:
                codes.add(error.code)
                standing = await limited.standing(tenant)
                most.append(standing.usd_per_day)
                if standing.concurrent_requests == 0:
                    return
                await asyncio.sleep(0.05)

    await asyncio.gather(*(call_until_there_is_no_money() for _ in range(64)))
    standing = await limited.standing(tenant)
    assert standing.usd_per_day == standing.usd_per_month == sum(nano(bill) for bill in bills)
    assert nano(50 * price) < standing.usd_per_day <= max(most) <= nano(100 * price)
    assert codes == {grpc.StatusCode.RESOURCE_EXHAUSTED}


async def test_a_refusal_says_what_is_left_and_when_it_resets(limited: Limited) -> None:
    tenant = limited.tenant(requests_per_minute=2)
    for _ in range(2):
        await served(limited, tenant)
    error = await refused(limited.system.client, BRIEF, tenant=tenant)
    assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMIT_EXCEEDED")
    assert error.metadata == {"limit": "requests_per_minute", "most": "2", "left": "0"}
    assert error.retry_after_s is not None
    assert 0 < error.retry_after_s <= 61
    limited.clock.ahead = timedelta(seconds=error.retry_after_s)
    await served(limited, tenant)


async def test_a_refusal_names_the_tenant_in_its_quota_failure(limited: Limited) -> None:
    tenant = limited.tenant(requests_per_minute=0)
    call = limited.system.client._stub.Solve(solve_request(BRIEF, tenant=tenant))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        async for _ in call:
            pass
    status, failure = rpc_status.from_call(refused.value), error_details_pb2.QuotaFailure()
    assert status is not None
    assert any(detail.Unpack(failure) for detail in status.details)
    assert [(each.subject, each.description) for each in failure.violations] == [
        (f"tenant:{tenant}", "requests_per_minute")
    ]


async def test_tokens_count_by_the_bound_until_the_bill_is_there(limited: Limited, hold: HoldFile) -> None:
    counted = limited.tenant(tokens_per_minute=10**9)
    await served(limited, counted)
    exact = (await limited.standing(counted)).tokens_per_minute
    task = asyncio.create_task(served(limited, counted, f"[slm_hold=2:{hold} slm_eos=5 scores=0:0.9]"))
    bound = (await limited.has(counted, lambda s: s.concurrent_requests == 1)).tokens_per_minute - exact
    assert bound > exact
    hold.release()
    await task
    tenant = limited.tenant(tokens_per_minute=bound + exact - 1)
    await served(limited, tenant)
    error = await refused(limited.system.client, BRIEF.ljust(len(BRIEF) + bound), tenant=tenant)
    assert error.reason in ("RATE_LIMIT_EXCEEDED", "REQUEST_TOO_LARGE", "QUESTION_TOO_LONG")


async def test_a_running_request_holds_its_place_to_its_end(limited: Limited, hold: HoldFile) -> None:
    tenant = limited.tenant(concurrent_requests=1)
    task = asyncio.create_task(served(limited, tenant, f"[slm_hold=2:{hold} slm_eos=5 scores=0:0.9]"))
    await limited.has(tenant, lambda standing: standing.concurrent_requests == 1)
    error = await refused(limited.system.client, BRIEF, tenant=tenant)
    assert (error.metadata["limit"], error.metadata["left"]) == ("concurrent_requests", "0")
    hold.release()
    await task
    await served(limited, tenant)  # at once: the place is free before the answer is told


async def test_a_request_that_is_more_than_the_limit_itself_is_not_told_to_wait(limited: Limited) -> None:
    error = await refused(limited.system.client, BRIEF, tenant=limited.tenant(usd_per_month=1e-9))
    assert (error.reason, error.retry_after_s) == ("REQUEST_TOO_LARGE", None)


async def test_a_new_day_has_a_new_budget_and_the_month_goes_on(limited: Limited) -> None:
    tenant = limited.tenant(usd_per_day=1.0)
    usd = nano((await served(limited, tenant))["cost"]["usd"])
    limited.clock.ahead = timedelta(days=1)
    standing = await limited.standing(tenant)
    is_same_month = limited.clock().day > 1
    assert (standing.usd_per_day, standing.usd_per_month) == (0, usd if is_same_month else 0)


# -- what is allowed --------------------------------------------------------------------------------------------------


async def test_a_profile_that_the_tenant_may_not_use_is_denied(limited: Limited) -> None:
    error = await refused(limited.system.client, BRIEF, tenant=limited.tenant(profiles=["another"]))
    assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "PROFILE_NOT_ALLOWED")


async def test_the_largest_budget_bounds_every_request(limited: Limited) -> None:
    tenant = limited.tenant(usd_per_request=0.0005)
    error = await refused(limited.system.client, BRIEF, tenant=tenant, max_cost_usd=0.001)
    assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "BUDGET_NOT_ALLOWED")
    unbounded, bounded = [(await served(limited, t, "[slm_eos=5]")) for t in ("somebody", tenant)]
    assert bounded["cost"]["usd"] <= 0.0005 < unbounded["cost"]["usd"]
    assert bounded["stop"]["reason"] == "budget"


async def test_a_change_of_the_file_counts_from_the_next_request_on(limited: Limited) -> None:
    tenant = limited.tenant(requests_per_minute=0)
    await refused(limited.system.client, BRIEF, tenant=tenant)
    limited.file.set(tenant, {"requests_per_minute": 1})
    await served(limited, tenant)
    limited.file.path.write_text("{")
    try:
        await refused(limited.system.client, BRIEF, tenant=tenant)  # the limits there were
    finally:
        limited.file.path.write_text('{"tenants": {"somebody": {}}}')


async def test_a_tenant_without_limits_has_no_account(limited: Limited) -> None:
    await served(limited, "somebody")
    assert not await limited.redis.keys("{tenant:somebody}*")


async def test_everything_that_an_account_keeps_expires(limited: Limited) -> None:
    tenant = limited.tenant(usd_per_day=1.0)
    await served(limited, tenant)
    keys = await limited.redis.keys(f"{{tenant:{tenant}}}*")
    assert len(keys) == 3
    assert all([await limited.redis.pttl(key) > 0 for key in keys])


# -- by HTTP ----------------------------------------------------------------------------------------------------------


async def test_http_says_429_with_openais_headers(limited: Limited) -> None:
    tenant = limited.tenant(requests_per_minute=1)
    async with serving(limited.system.client.address) as http:
        model = limited.system.service._admission.default
        asked = {"model": model, "tandem": {"tenant": tenant}}
        assert (await ask_http(http, BRIEF, **asked)).status_code == 200
        for is_stream in (False, True):
            reply = await ask_http(http, BRIEF, stream=is_stream, **asked)
            error = reply.json()["error"]
            assert (reply.status_code, error["type"], error["code"]) == (429, "rate_limit_error", "rate_limit_exceeded")
            assert 0 < int(reply.headers["retry-after"]) <= 61
            assert reply.headers["x-ratelimit-limit-requests"] == "1"
            assert reply.headers["x-ratelimit-remaining-requests"] == "0"
            assert reply.headers["x-ratelimit-reset-requests"].endswith("s")


async def test_http_says_that_there_is_no_money_as_openai_does(limited: Limited) -> None:
    tenant = limited.tenant(usd_per_day=0.0)
    async with serving(limited.system.client.address) as http:
        model = limited.system.service._admission.default
        reply = await ask_http(http, BRIEF, model=model, tandem={"tenant": tenant})
    assert (reply.status_code, reply.headers["x-should-retry"]) == (429, "false")
    assert reply.headers["x-ratelimit-remaining-usd-per-day"] == "0"


async def test_the_used_share_of_each_limit_is_exported(limited: Limited) -> None:
    tenant = limited.tenant(usd_per_day=0.5, requests_per_minute=4, tokens_per_minute=None)
    usd = (await served(limited, tenant))["cost"]["usd"]
    await limited.look()

    def share(limit: str) -> float | None:
        return REGISTRY.get_sample_value("tandem_tenant_limit_used_ratio", {"tenant": tenant, "limit": limit})

    assert share("usd_per_day") == pytest.approx(usd / 0.5, abs=1e-8)
    assert share("requests_per_minute") == 0.25
    assert share("usd_per_month") is None


async def test_the_used_share_of_a_tenant_outside_the_file_is_exported_as_well(limited: Limited) -> None:
    tenant = uuid4().hex
    limited.file.set("", {"requests_per_minute": 1})
    try:
        await served(limited, tenant)
        await limited.look()
    finally:
        limited.file.set("", {"requests_per_minute": None})
    labels = {"tenant": tenant, "limit": "requests_per_minute"}
    assert REGISTRY.get_sample_value("tandem_tenant_limit_used_ratio", labels) == 1.0


async def test_the_cost_of_a_tenants_requests_is_counted_with_limits_and_without(limited: Limited) -> None:
    for tenant in (uuid4().hex, limited.tenant(usd_per_day=0.5)):
        before = await counted_usd(tenant)
        usd = (await served(limited, tenant))["cost"]["usd"]
        # The client hears of the result before the worker has counted it.
        await until(lambda name=tenant: counted_usd(name), lambda now, least=before + usd: now == pytest.approx(least))


async def counted_usd(tenant: str) -> float:
    """Of this tenant, and of all those together whose names came late to this process."""
    found = (REGISTRY.get_sample_value("tandem_tenant_cost_usd_total", {"tenant": name}) for name in (tenant, OTHERS))
    return sum(usd or 0.0 for usd in found)
