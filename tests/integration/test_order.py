"""Lists of requests are newest first: by when they began, in the API, on the command line and on the page."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from typer.testing import CliRunner

from tandem import Client
from tandem.cli import app
from tandem.client import spending
from tests.browser import needs_browser
from tests.conftest import Hold
from tests.integration.conftest import System
from tests.integration.tabs import own_tab
from tests.integration.test_search import found

pytestmark = pytest.mark.asyncio(loop_scope="session")


@dataclass(frozen=True)
class Listed:
    """Requests of one tenant, in the order in which they began; those that end do so in another one."""

    tenant: str
    began: tuple[str, ...]

    @property
    def newest_first(self) -> list[str]:
        return list(reversed(self.began))


async def begun(system: System, script: str, tenant: str) -> tuple[str, asyncio.Task[None]]:
    """A request that has begun, and what reads it to its end."""
    request_id = uuid4().hex
    accepted = asyncio.Event()

    async def follow() -> None:
        async with aclosing(system.client.solve(script, request_id=request_id, tenant=tenant)) as events:
            async for _ in events:
                accepted.set()

    reading = asyncio.create_task(follow())
    await accepted.wait()
    return request_id, reading


@pytest_asyncio.fixture(loop_scope="session")
async def listed(system: System, tmp_path: Path) -> AsyncIterator[Listed]:
    """Five requests: the first ends last, the fourth still runs."""
    tenant = uuid4().hex[:12]
    holds = [Hold(tmp_path / name) for name in ("first", "second", "fourth")]
    scripts = [
        f"[llm_hold=20:{holds[0]} scores=32:0.9 slm_eos=5]",
        f"[llm_hold=20:{holds[1]} scores=32:0.9 slm_eos=5]",
        "[scores=0:0.9 slm_eos=5]",
        f"[llm_hold=20:{holds[2]} scores=32:0.9 slm_eos=5]",
        "[scores=0:0.9 slm_eos=5]",
    ]
    asked = [await begun(system, script, tenant) for script in scripts]
    for number in (2, 4):
        await asked[number][1]
    for number in (1, 0):
        holds[number].release()
        await asked[number][1]
    await found(system, f"tenant = {tenant} and state = completed", 4)
    await found(system, f"tenant = {tenant} and state = running", 1)
    yield Listed(tenant, tuple(request_id for request_id, _ in asked))
    holds[2].release()
    await asked[3][1]


async def test_the_api_lists_those_first_that_began_last_whenever_they_ended(system: System, listed: Listed) -> None:
    ended = [request_id for request_id in listed.newest_first if request_id != listed.began[3]]
    for limit in (1, 2, 3, 4, 5, 20):
        rows = (await system.client.list(f"tenant = {listed.tenant}", limit)).requests
        assert [row.request_id for row in rows] == listed.newest_first[:limit]
        rows = (await system.client.list(f"tenant = {listed.tenant} and cost > 0", limit)).requests
        assert [row.request_id for row in rows] == ended[:limit]


async def test_the_command_line_lists_them_in_that_order(
    system: System, listed: Listed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TANDEM_ADDRESS", system.client.address)
    command = ["request", "list", "--where", f"tenant = {listed.tenant}", "--json", "--limit", "3"]
    found = await asyncio.to_thread(CliRunner().invoke, app, command)
    assert [row["request_id"] for row in json.loads(found.output)] == listed.newest_first[:3]


@needs_browser
async def test_the_page_lists_them_in_that_order(system: System, listed: Listed) -> None:
    async with own_tab(system.client.address) as tab:
        await tab.open(f"#/requests?tenant={listed.tenant}")
        links = tab.page.locator("table.requests tbody a")
        await links.nth(4).wait_for()
        assert [await link.get_attribute("title") for link in await links.all()] == listed.newest_first


async def test_sums_over_pages_of_the_list_miss_no_request(
    system: System, listed: Listed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page begins where the last one's oldest began, so an older one on an earlier page would hide what lies
    between.
    """
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)

    def summed(page: int) -> spending.Sum:
        monkeypatch.setattr(spending, "_PAGE", page)
        with Client(system.client.address) as client:
            ask = client.list
            monkeypatch.setattr(
                client, "list", lambda where, *more: ask(f"tenant = {listed.tenant} and {where}", *more)
            )
            return spending.spending(client, day, ["tenant"])[(listed.tenant,)]

    for page in (2, 3, 4):
        found = await asyncio.to_thread(summed, page)
        assert (found.requests, found.open) == (5, 1)
