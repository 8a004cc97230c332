"""The page before a gateway that asks for keys: it asks its reader, and shows what that key may see."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import expect

from services.shared.identity.authentication import ApiKeys, Authentication
from tandem import AsyncClient
from tandem.access.keys import KeyFile
from tests.browser import a_browser, needs_browser, visit
from tests.integration.conftest import run_system
from tests.integration.edge import serving

pytestmark = [pytest.mark.asyncio(loop_scope="session"), needs_browser]
QUESTION = "[scores=16:0.9 slm_eos=5]"


@dataclass(frozen=True)
class Guarded:
    """An edge before a gateway that asks for keys, a key of tenant `mine`, and the id of a request of another
    tenant.
    """

    address: str
    key: str
    of_another: str


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def guarded(
    redis_url: str, temporal_address: str, profiles_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Guarded]:
    keys = KeyFile(tmp_path_factory.mktemp("keys") / "keys.json")
    key, of_another = keys.create("mine")[1], keys.create("another")[1]
    authentication = Authentication(ApiKeys(keys.path))
    running = run_system(
        "scripted", profiles_folder, redis_url, temporal_address, authentication=authentication, alias="page-keys"
    )
    async with running as system, serving(system.client.address) as http:
        async with AsyncClient(system.client.address, of_another) as client:
            asked = await client.ask(QUESTION)
        yield Guarded(str(http.base_url).rstrip("/"), key, asked.request_id)


async def test_without_a_key_it_asks_for_one_and_with_one_it_shows_what_that_key_may_see(guarded: Guarded) -> None:
    async with a_browser() as browser, visit(browser, guarded.address) as tab:
        await tab.open()
        await expect(tab.page.get_by_role("alert")).to_contain_text("key")
        await expect(tab.page.get_by_label("API key or token")).to_be_focused()
        assert await tab.serious_findings() == []
        await tab.page.keyboard.type(guarded.key)
        await tab.page.keyboard.press("Enter")
        await expect(tab.page.get_by_role("alert")).to_have_count(0)
        request_id = await tab.ask(QUESTION)
        await tab.done()
        await tab.open("#/requests")
        await expect(tab.page.get_by_title(request_id)).to_be_visible()
        await expect(tab.page.get_by_title(guarded.of_another)).to_have_count(0)
        await tab.open(f"#/requests/{guarded.of_another}")
        await expect(tab.page.get_by_role("alert")).to_contain_text(guarded.of_another)
        tab.assert_kept_to_itself()


async def test_the_page_of_the_api_asks_with_the_key_that_the_page_was_given(guarded: Guarded) -> None:
    async with a_browser() as browser, visit(browser, guarded.address) as tab:
        await tab.open()
        await tab.page.get_by_label("API key or token").fill(guarded.key)
        await tab.page.keyboard.press("Enter")
        await expect(tab.page.get_by_role("alert")).to_have_count(0)
        await tab.page.goto(f"{guarded.address}/docs")
        await expect(tab.page.locator(".opblock").filter(has_text="/v1/chat/completions")).to_be_visible()
        tab.assert_kept_to_itself()
