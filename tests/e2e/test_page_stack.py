"""The page before the local stack, whose gateways are killed in the middle of what it shows."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import expect

from tests.browser import chromium, needs_browser, visit
from tests.conftest import Hold
from tests.e2e.conftest import LocalStack

pytestmark = [pytest.mark.asyncio(loop_scope="session"), needs_browser]


@pytest.mark.parametrize("component", ["http-gateway", "gateway"])
async def test_a_gateway_that_is_killed_in_the_middle_costs_the_page_nothing(
    local: LocalStack, hold: Hold, component: str
) -> None:
    async with chromium() as browser, visit(browser, local.stack.http) as tab:
        await tab.open()
        await tab.ask(f"[llm_hold=24:{hold} llm=word_ scores=32:0.9 slm=more_ slm_eos=5]")
        await expect(tab.page.locator(".pane.llm .figure")).to_have_text("24 tokens")
        await tab.page.evaluate("window.isTheSamePage = true")
        await asyncio.to_thread(local.kill, component)
        await asyncio.to_thread(local.start, component)
        await asyncio.to_thread(local.wait_until_ready, component)
        hold.release()
        await tab.done()
        assert await tab.page.evaluate("window.isTheSamePage")
        written = await tab.page.locator(".pane.llm .text > span:not(.stage-end)").all_text_contents()
        assert "".join(written).startswith("word word word word word wor")
        await expect(tab.page.locator(".pane.slm .text")).to_have_text("more")
        tab.assert_kept_to_itself()
