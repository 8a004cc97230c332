"""The page before the real local stack, whose HTTP gateway is killed while a model writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.browser import Visit, a_browser, needs_browser, visit
from tests.conftest import Hold
from tests.e2e.conftest import LocalStack

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900), needs_browser]
EDGE = "http-gateway"
INSIGHT = ("abcdefg" * 7)[:48]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with a_browser() as running:
        yield running


async def insight(tab: Visit) -> str:
    """What the large model wrote, without the numbers at the ends of stages."""
    return "".join(await tab.page.locator(".insight .text > span:not(.stage-end)").all_text_contents())


@pytest.mark.parametrize("goes_on", ["while it is away", "when it is back"])
async def test_a_page_outlives_its_killed_gateway_and_shows_the_whole_insight(
    browser: Browser, local: LocalStack, hold: Hold, goes_on: str
) -> None:
    async with visit(browser, f"http://127.0.0.1:{local.stack.ports[EDGE]['main']}") as tab:
        await tab.open()
        await tab.ask(f"[llm_hold=24:{hold} llm=abcdefg scores=48:0.9 slm=more_ slm_eos=5]")
        await expect(tab.page.locator(".insight .figure")).to_have_text("24 tokens")
        await tab.page.evaluate("window.isTheSamePage = true")
        await asyncio.to_thread(local.kill, EDGE)
        if goes_on == "while it is away":
            hold.release()
            await asyncio.to_thread(local.wait_until_running, "insight-generator", 0)
        await asyncio.to_thread(local.start, EDGE)
        await asyncio.to_thread(local.wait_until_ready, EDGE)
        hold.release()
        await tab.done()
        assert await tab.page.evaluate("window.isTheSamePage")
        await expect(tab.page.locator(".insight .figure")).not_to_have_text("24 tokens")
        assert (await insight(tab))[: len(INSIGHT)] == INSIGHT
        await expect(tab.page.locator("section.answer .text")).to_have_text(f"large model{INSIGHT}small modelmore")
