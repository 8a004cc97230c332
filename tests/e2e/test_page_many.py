"""Ten thousand requests before the real local stack: the page's list stays quick."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from uuid import uuid4

import pytest
from playwright.async_api import expect
from temporalio.client import Client

from services.shared.process.search_attributes import whose
from tandem.local.supervisor import Stack
from tandem.method.names import SOLVE_WORKFLOW
from tests.browser import Visit, a_browser, needs_browser, visit
from tests.e2e.conftest import in_environment
from tests.stacks import start_stack

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(1800), needs_browser]
REQUESTS, AT_ONCE = 10_000, 32
SECONDS = 5.0
"""To show rows, on a machine that does other work; a quiet one takes a tenth."""


@pytest.fixture(scope="module")
def stack(variables: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """With a Temporal of its own, so that no other test finds these requests."""
    with in_environment({**variables, "TANDEM_STATE": str(tmp_path_factory.mktemp("many"))}):
        stack = start_stack("scripted")
        yield stack
        stack.down()


async def fill(temporal: Client) -> None:
    """Requests that no worker takes; each ends by its time-out."""
    places = asyncio.Semaphore(AT_ONCE)

    async def start(number: int) -> None:
        async with places:
            await temporal.start_workflow(
                SOLVE_WORKFLOW,
                id=uuid4().hex,
                task_queue="nobody",
                execution_timeout=timedelta(seconds=1),
                memo={"asked": f"Question {number}: how far is the moon?", "tool": "", "profile": "scripted"},
                search_attributes=whose("scripted", ""),
            )

    await asyncio.gather(*map(start, range(REQUESTS)))


async def seconds(tab: Visit, rows: int) -> float:
    """Until so many rows are shown."""
    began = time.monotonic()
    await expect(tab.page.locator("table.requests tbody tr")).to_have_count(rows)
    return time.monotonic() - began


async def test_ten_thousand_requests_are_listed_quickly(stack: Stack) -> None:
    temporal = await Client.connect(f"127.0.0.1:{stack.ports['temporal']['main']}")
    await fill(temporal)
    async with asyncio.timeout(300):
        while (await temporal.count_workflows("ExecutionStatus = 'Running'")).count:
            await asyncio.sleep(0.2)
    took = {}
    async with a_browser() as browser, visit(browser, f"http://127.0.0.1:{stack.ports['http-gateway']['main']}") as tab:
        await tab.open("#/requests")
        took["first 100"] = await seconds(tab, 100)
        for rows in range(200, 1001, 100):
            await tab.page.get_by_role("button", name="Show more").click()
            took[f"first {rows}"] = await seconds(tab, rows)
        number = REQUESTS - 1
        await tab.page.get_by_label("Search in these").press_sequentially(f"question {number}:")
        took["a search"] = await seconds(tab, 1)
        await expect(tab.page.get_by_role("link", name=f"Question {number}:")).to_be_visible()
    print(took)
    assert max(took.values()) < SECONDS, took
