"""The page while its server does not answer: each view says so in the same words, and goes on by itself."""

from __future__ import annotations

import asyncio
import re

import pytest
from playwright.async_api import Browser, Route, expect

from tests.browser import needs_browser, visit
from tests.integration.conftest import System

pytestmark = [pytest.mark.asyncio(loop_scope="session"), needs_browser]
VIEWS = ("requests", "requests/{id}", "savings")
OF_SERVER = re.compile("/(api|v1)/")
WORDS = "Reconnecting … http://127.0.0.1"


async def lose(browser: Browser, edge_address: str, view: str, what: str | re.Pattern[str]) -> None:
    """Looks at a view while `what` cannot be read, and until it can."""
    async with visit(browser, edge_address) as tab:
        await tab.open()
        await tab.page.route(what, _cut)
        await tab.page.evaluate(f"location.hash = '#/{view}'")
        lost = tab.page.get_by_role("alert").filter(has_text=WORDS)
        await expect(lost.first).to_be_visible()  # a second one where the profiles were not there yet
        await tab.page.unroute(what)
        await expect(lost).to_have_count(0)
        await expect(tab.page.locator("main h1").first).to_be_visible()
        tab.assert_kept_to_itself()


async def _cut(route: Route) -> None:
    await route.abort()


async def test_each_view_says_that_it_reconnects_and_does(browser: Browser, edge_address: str, system: System) -> None:
    asked = await system.client.ask("[scores=16:0.9 slm_eos=5]")
    views = [view.format(id=asked.request_id) for view in VIEWS]
    await asyncio.gather(*(lose(browser, edge_address, view, OF_SERVER) for view in views))


async def test_a_view_that_could_not_be_loaded_is_loaded_later(browser: Browser, edge_address: str) -> None:
    await lose(browser, edge_address, "savings", "**/assets/savings.js")
