"""What requests have cost, by tenant and day, is what their bills say."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from tandem import Client
from tandem.client import spending
from tests.integration.tenants.limiting import BRIEF, Limited, refused, served, until

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_bills_are_summed_by_tenant_and_day_over_all_pages(
    limited: Limited, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spending, "_PAGE", 2)
    began, (one, other) = datetime.now(UTC), (uuid4().hex, uuid4().hex)
    bills = [(await served(limited, one))["cost"]["usd"] for _ in range(5)]
    bill = (await served(limited, other))["cost"]["usd"]
    name = uuid4().hex
    await refused(limited.system.client, "[fail=slm scores=16:0.9]", tenant=other, request_id=name)
    failed = (await limited.system.client.get(name)).result.cost.usd
    await refused(limited.system.client, BRIEF, tenant=limited.tenant(requests_per_minute=0))

    def summed() -> dict[tuple[str, ...], Any]:
        with Client(limited.system.client.address) as client:
            return spending.spending(client, began, ["tenant", "day"])

    def is_whole(sums: dict[tuple[str, ...], Any]) -> bool:
        return sum(found.requests - found.open for found in sums.values()) == 7

    sums = await until(lambda: asyncio.to_thread(summed), is_whole)
    by_tenant = {tenant: (found.requests, found.usd) for (tenant, _), found in sums.items()}
    assert by_tenant == {one: (5, pytest.approx(sum(bills))), other: (2, pytest.approx(bill + failed))}
    assert {day for _, day in sums} <= {began.strftime("%Y-%m-%d"), datetime.now(UTC).strftime("%Y-%m-%d")}
