"""The page where a result comes without the text before it: the gateway could not read the log when the request
ended.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import expect

from services.gateway.event_stream import EventStream, PositionedEvent
from tandem.method.errors import RequestLogUnavailable
from tests.browser import Visit, needs_browser
from tests.conftest import Hold
from tests.integration.conftest import System
from tests.integration.tabs import own_tab
from tests.integration.test_page_api import events, start

pytestmark = [pytest.mark.asyncio(loop_scope="session"), needs_browser]
IS_WHOLE = """async (seen) => {
  const { isWhole, next, start } = await import("/assets/live.js");
  return isWhole(seen.reduce(next, start("1")));
}"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tab(system: System) -> AsyncIterator[Visit]:
    async with own_tab(system.client.address) as visiting:
        yield visiting


async def test_text_that_a_result_came_without_is_read_later(
    tab: Visit, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway cannot read the log when the request ends, so that only Temporal's result comes."""
    reads, is_silent = EventStream._news, False

    async def news(stream: EventStream, block: timedelta) -> list[PositionedEvent]:
        if is_silent:
            raise RequestLogUnavailable("the log does not answer")
        return await reads(stream, block)

    monkeypatch.setattr(EventStream, "_news", news)
    await tab.open()
    await tab.ask(f"[llm_hold=24:{hold} llm=abcdefg scores=48:0.9 slm=more_ slm_eos=5]")
    await expect(tab.page.locator(".insight .figure")).to_have_text("24 tokens")
    is_silent = True
    hold.release()
    await tab.done()
    assert len(await tab.insight()) < 48  # a read that had begun before may have brought one token more
    is_silent = False
    await expect(tab.page.locator(".insight .figure")).to_have_text("48 tokens")
    assert await tab.insight() == ("abcdefg" * 7)[:48]
    written = f"large model{('abcdefg' * 7)[:48]}small modelmore"
    await expect(tab.page.locator("section.answer .text")).to_have_text(written)
    await expect(tab.page.locator(".answer .figure")).to_have_text("5 tokens")


@pytest.mark.parametrize(
    "script",
    [
        "[scores=16:0.9 slm_eos=9]",
        "[scores=0:0.9 slm_eos=5]",
        "[llm_eos=20 slm_eos=5]",
        "[slm_eos=20]",
        "[fail=score slm_eos=5]",
        "[fail=llm slm_eos=5]",
    ],
)
async def test_a_whole_text_is_taken_for_whole(tab: Visit, http: httpx.AsyncClient, script: str) -> None:
    """Else the page would ask for it again and again."""
    seen = [data for _, data in await events(http, await start(http, script))]
    await tab.open()
    without_text = [each for each in seen if not each["kind"].endswith("delta")]
    for shown, expected in ((seen, True), (without_text, False)):
        assert await tab.page.evaluate(IS_WHOLE, shown) is expected
