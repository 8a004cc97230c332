"""What a browser shows where no gateway answers, and what needs none: the page of the API."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tandem.client.contract import MAX_REQUEST_BYTES
from tests.browser import Visit, a_browser, needs_browser, visit
from tests.conftest import free_port
from tests.integration.conftest import System
from tests.integration.edge import serving
from tests.integration.tabs import own_tab

# Playwright's own would lay out 5 MB of one line.
PASTE = """(field) => {
  field.value = "a line of a question\\n".repeat(250000);
  field.dispatchEvent(new Event("input", { bubbles: true }));
}"""
pytestmark = [pytest.mark.asyncio(loop_scope="session"), needs_browser]


@pytest_asyncio.fixture(loop_scope="session")
async def tab() -> AsyncIterator[Visit]:
    async with own_tab(f"127.0.0.1:{free_port()}") as visiting:
        yield visiting


async def test_the_page_of_the_api_shows_its_operations(system: System) -> None:
    async with own_tab(system.client.address) as tab:
        await tab.page.goto(f"{tab.address}/docs")
        operation = tab.page.locator(".opblock").filter(has_text="/v1/chat/completions")
        await expect(operation).to_be_visible()
        await operation.get_by_role("button").first.click()
        await expect(operation.get_by_text("Idempotency-Key")).to_be_visible()


async def test_the_page_says_that_the_gateway_does_not_answer_and_what_to_do(tab: Visit) -> None:
    await tab.page.goto(tab.address)
    problem = tab.page.get_by_role("alert")
    await expect(problem).to_contain_text("the gateway does not answer")
    await expect(problem).to_contain_text("try again")


async def test_a_question_that_is_too_large_is_not_sent_and_the_limit_is_said(system: System) -> None:
    async with own_tab(system.client.address) as tab:
        await tab.open()
        await tab.page.get_by_label("Question", exact=True).evaluate(PASTE)
        await tab.page.get_by_role("button", name="Ask", exact=True).click(timeout=120_000)  # once 5 MB are laid out
        problem = tab.page.get_by_role("alert")
        await expect(problem).to_contain_text("too large")
        await expect(problem).to_contain_text(f"{MAX_REQUEST_BYTES:,}")


async def test_a_server_that_is_gone_is_said_while_a_request_runs_and_before_one(system: System) -> None:
    port = free_port()
    async with a_browser() as browser, visit(browser, f"http://127.0.0.1:{port}") as tab:
        problem = tab.page.get_by_role("alert")
        async with serving(system.client.address, port):
            await tab.open()
            request_id = await tab.ask("[scores=0:0.9 slm_eos=1000 ms=1000]")
            await expect(tab.page.get_by_role("button", name="Stop")).to_be_visible()
        await expect(problem).to_contain_text(f"127.0.0.1:{port} does not answer")
        await expect(problem).to_contain_text("tandem up")
        async with serving(system.client.address, port):
            await expect(problem).not_to_be_visible()
        await tab.page.evaluate("location.hash = '#/ask'")
        await tab.page.get_by_role("textbox", name="Question").fill("how?")
        await tab.page.get_by_role("button", name="Ask", exact=True).click()
        await expect(problem).to_contain_text("does not answer")
    await system.client.cancel(request_id)
