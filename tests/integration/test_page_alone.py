"""What a browser shows where no gateway answers, and what needs none: the page of the API."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.browser import Visit, needs_browser
from tests.conftest import free_port
from tests.integration.tabs import own_tab

pytestmark = [pytest.mark.asyncio(loop_scope="session"), needs_browser]


@pytest_asyncio.fixture(loop_scope="session")
async def tab() -> AsyncIterator[Visit]:
    async with own_tab(f"127.0.0.1:{free_port()}") as visiting:
        yield visiting


async def test_the_page_of_the_api_shows_its_operations(tab: Visit) -> None:
    await tab.page.goto(f"{tab.address}/docs")
    operation = tab.page.locator(".opblock").filter(has_text="/v1/chat/completions")
    await expect(operation).to_be_visible()
    await operation.get_by_role("button").first.click()
    await expect(operation.get_by_text("Idempotency-Key")).to_be_visible()
