"""What a tenant is told of its use of its limits is what counts against them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tandem import to_dict
from tests.command import tandem
from tests.conftest import Hold
from tests.integration.tenants.limiting import BRIEF, Limited, served, until

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def uses(limited: Limited, tenant: str) -> dict[str, dict[str, Any]]:
    """The uses of one tenant's limits by their names."""
    [found] = [t for t in to_dict(await limited.system.client.tenants())["tenants"] if t["tenant"] == tenant]
    return {use["limit"]: use for use in found["limits"]}


async def test_a_tenant_with_a_limit_sees_all_its_uses_and_when_they_reset(limited: Limited) -> None:
    tenant = limited.tenant(requests_per_minute=9, usd_per_month=2.5)
    bill = (await served(limited, tenant))["cost"]["usd"]
    await limited.has(tenant, lambda standing: standing.concurrent_requests == 0)
    found = await uses(limited, tenant)
    assert {name: use["most"] for name, use in found.items()} == {
        "requests_per_minute": 9,
        "tokens_per_minute": None,
        "concurrent_requests": None,
        "usd_per_day": None,
        "usd_per_month": 2.5,
    }
    assert (found["requests_per_minute"]["used"], found["concurrent_requests"]["used"]) == (1, 0)
    assert found["tokens_per_minute"]["used"] > 0
    assert found["usd_per_day"]["used"] == found["usd_per_month"]["used"] == pytest.approx(bill)
    now = datetime.now(UTC)
    day, month = (
        datetime.fromtimestamp(found[f"usd_per_{n}"]["resets_at_unix_ms"] / 1000, UTC) for n in ("day", "month")
    )
    assert (day.hour, day.minute, day.second, day.date()) == (0, 0, 0, (now + timedelta(days=1)).date())
    assert (month.day, month.hour) == (1, 0)
    assert now < month <= now + timedelta(days=31)
    assert found["requests_per_minute"]["resets_at_unix_ms"] is None


async def test_what_a_running_request_may_need_counts(limited: Limited, hold: Hold) -> None:
    tenant = limited.tenant(usd_per_day=1.0)
    stream = limited.system.client.solve(f"[llm_hold=4:{hold}]", tenant=tenant)
    await anext(stream)
    held = await uses(limited, tenant)
    assert held["concurrent_requests"]["used"] == 1
    assert held["usd_per_day"]["used"] > 0
    hold.release()
    async for _ in stream:
        pass

    async def now() -> dict[str, dict[str, Any]]:
        return await uses(limited, tenant)

    after = await until(now, lambda found: found["concurrent_requests"]["used"] == 0)
    assert after["usd_per_day"]["used"] < held["usd_per_day"]["used"]


async def test_an_account_that_redis_has_lost_is_rebuilt_before_it_is_shown(limited: Limited) -> None:
    tenant = limited.tenant(usd_per_month=5.0)
    bill = (await served(limited, tenant))["cost"]["usd"]
    await limited.has(tenant, lambda standing: standing.concurrent_requests == 0)

    async def rebuilt() -> float:  # Temporal lists a bill a moment after its request
        await limited.redis.delete(*await limited.redis.keys(f"{{tenant:{tenant}}}*"))
        return float((await uses(limited, tenant))["usd_per_month"]["used"])

    await until(rebuilt, lambda used: used == pytest.approx(bill))


async def test_a_tenant_without_counted_limits_has_no_uses(limited: Limited) -> None:
    tenant = limited.tenant(usd_per_request=1.0)
    await limited.system.client.ask(BRIEF, tenant=tenant)
    assert await uses(limited, tenant) == {}
    assert not await limited.redis.keys(f"{{tenant:{tenant}}}*")


async def test_the_terminal_shows_each_use_beside_its_limit(limited: Limited) -> None:
    tenant = limited.tenant(requests_per_minute=9, usd_per_month=2.5)
    bill = (await served(limited, tenant))["cost"]["usd"]
    await limited.has(tenant, lambda standing: standing.concurrent_requests == 0)
    shown = await asyncio.to_thread(tandem, "tenants", "used", TANDEM_ADDRESS=limited.system.client.address)
    [row] = [line for line in shown.stdout.splitlines() if line.split()[0] == tenant]
    assert "1 of 9" in row
    assert f"{bill:.6f} of 2.5" in row
