"""Views of the page that not everybody may see: batches and keys are in the navigation of those who may, and say to
others why not.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from services.shared.identity.authentication import ApiKeys, Authentication
from tandem import AsyncClient
from tandem.access.keys import KeyFile
from tandem.client.batches import new_batch
from tests.browser import Visit, needs_browser, needs_downloads, visit
from tests.conftest import Hold
from tests.integration.conftest import System, run_system
from tests.integration.edge import serving
from tests.integration.tabs import own_tab
from tests.integration.test_batch import end, plain, upload

pytestmark = [pytest.mark.asyncio(loop_scope="session"), needs_browser]
NAMES = ["Ask", "Requests", "Batches", "Sessions", "Savings", "Outcomes", "Tenants", "Keys"]


@dataclass(frozen=True)
class Guarded:
    """An edge before a gateway that asks for keys and has a file store, and its `mine` and `admin` credentials."""

    system: System
    address: str
    mine: str
    admin: str

    def client(self, credential: str) -> AsyncClient:
        return AsyncClient(self.system.client.address, credential)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def guarded(
    redis_url: str, temporal_address: str, profiles_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Guarded]:
    folder = tmp_path_factory.mktemp("views")
    keys = KeyFile(folder / "keys.json")
    mine, admin = keys.create("mine")[1], keys.create("ops", ["admin"])[1]
    running = run_system(
        "scripted", profiles_folder, redis_url, temporal_address,
        authentication=Authentication(ApiKeys(keys.path)), alias="page-views", files=str(folder / "files"),
    )  # fmt: skip
    async with running as system, serving(system.client.address) as http:
        yield Guarded(system, str(http.base_url).rstrip("/"), mine, admin)


@pytest_asyncio.fixture(loop_scope="session")
async def tab(browser: Browser, guarded: Guarded) -> AsyncIterator[Visit]:
    async with visit(browser, guarded.address) as visiting:
        yield visiting
        visiting.assert_kept_to_itself()


async def come_as(tab: Visit, credential: str) -> None:
    await tab.use_key(credential)
    await tab.open()


async def test_an_admin_sees_all_keys_without_their_secrets(tab: Visit, guarded: Guarded) -> None:
    await come_as(tab, guarded.admin)
    await expect(tab.page.get_by_role("navigation", name="Views").get_by_role("link")).to_have_text(NAMES)
    await tab.page.get_by_role("link", name="Keys").click()
    rows = tab.page.get_by_role("table", name="API keys").locator("tbody tr")
    await expect(rows).to_have_count(2)
    _, own, secret = guarded.admin.split("_", 2)
    await expect(rows.nth(1)).to_contain_text(f"{own} asks here")
    await expect(rows.nth(1)).to_contain_text("admin")
    assert secret not in await tab.page.content()
    assert await tab.serious_findings() == []


async def test_another_reader_has_no_view_of_keys_and_is_told_why(tab: Visit, guarded: Guarded) -> None:
    await come_as(tab, guarded.mine)
    links = tab.page.get_by_role("navigation", name="Views").get_by_role("link")
    await expect(links).to_have_text([name for name in NAMES if name != "Keys"])
    await tab.open("#/keys")
    await expect(tab.page.get_by_role("alert")).to_have_text(
        "keys are for admins to see: ask with a key that has the role admin"
    )
    await expect(tab.page.get_by_role("table")).to_have_count(0)


async def test_a_gateway_without_keys_and_files_has_neither_view(system: System) -> None:
    async with own_tab(system.client.address) as tab:
        await tab.open("#/batches")
        await expect(tab.page.get_by_role("alert")).to_contain_text("TANDEM_FILES")
        await tab.open("#/keys")
        await expect(tab.page.get_by_role("alert")).to_contain_text("TANDEM_API_KEYS names no file")
        links = tab.page.get_by_role("navigation", name="Views").get_by_role("link")
        await expect(links).to_have_text([name for name in NAMES if name not in ("Keys", "Batches")])


@needs_downloads
async def test_a_batch_is_watched_and_its_answers_are_saved(tab: Visit, guarded: Guarded) -> None:
    async with guarded.client(guarded.mine) as client:
        system = replace(guarded.system, client=client)
        batch = await client.batches.create(new_batch(await upload(system, plain(1))))
        await end(system, batch.batch_id)
    await come_as(tab, guarded.mine)
    await tab.page.get_by_role("link", name="Batches").click()
    row = tab.page.get_by_role("table", name="Batches").locator("tbody tr").filter(has_text=batch.batch_id)
    await expect(row).to_contain_text("completed")
    await expect(row).to_contain_text("1 of 1")
    async with tab.page.expect_download() as saving:
        await row.get_by_role("button", name="Answers").click()
    saved = await (await saving.value).path()
    assert json.loads(saved.read_text())["id"] == "q0"
    assert await tab.serious_findings() == []


async def test_a_running_batch_is_cancelled_from_its_row(tab: Visit, guarded: Guarded, hold: Hold) -> None:
    async with guarded.client(guarded.mine) as client:
        system = replace(guarded.system, client=client)
        batch = await client.batches.create(new_batch(await upload(system, plain(1, f"[llm_hold=20:{hold}]"))))
        await come_as(tab, guarded.mine)
        await tab.open("#/batches")
        row = tab.page.get_by_role("table", name="Batches").locator("tbody tr").filter(has_text=batch.batch_id)
        await row.get_by_role("button", name="Cancel").click()
        await expect(row).to_contain_text("cancel")
        hold.release()
        await end(system, batch.batch_id)
        await expect(row).to_contain_text("cancelled")  # it is read again by itself


async def test_a_word_on_an_answer_is_counted_among_the_outcomes(tab: Visit, guarded: Guarded) -> None:
    async with guarded.client(guarded.mine) as client:
        asked = await client.ask("[scores=16:0.9 slm_eos=5]")
        await come_as(tab, guarded.mine)
        await tab.open("#/outcomes")
        await expect(tab.page.locator(".empty")).to_contain_text("Nobody has said yet")
        await client.report(asked.request_id, True)
    await tab.page.reload()
    row = tab.page.get_by_role("table", name="Outcomes by policy").locator("tbody tr")
    await expect(row).to_contain_text("no promise")
    await expect(row.get_by_role("cell").nth(2)).to_have_text("1")
    assert await tab.serious_findings() == []
