"""The page's tenants: what each has used of its limits, to an admin all, to a tenant its own."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from services.shared.identity.authentication import ApiKeys, Authentication
from tandem import AsyncClient, to_dict
from tandem.access.keys import KeyFile
from tandem.access.tenants import TenantFile
from tests.browser import Visit, needs_browser, visit
from tests.integration.conftest import run_system
from tests.integration.edge import serving

pytestmark = [pytest.mark.asyncio(loop_scope="session"), needs_browser]
QUESTION = "[scores=16:0.9 slm_eos=5]"


@dataclass(frozen=True)
class Guarded:
    """An edge before a gateway with limits; `keys` by role or tenant; `usd` is what `mine` has spent."""

    address: str
    keys: dict[str, str]
    usd: float


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def guarded(
    redis_url: str, temporal_address: str, profiles_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Guarded]:
    folder = tmp_path_factory.mktemp("tenants")
    keys, tenants = KeyFile(folder / "keys.json"), TenantFile(folder / "tenants.json")
    made = {name: keys.create(name)[1] for name in ("page-mine", "page-asks", "page-free")}
    made["admin"] = keys.create("page-ops", ["admin"])[1]
    tenants.set("page-mine", {"requests_per_minute": 60, "usd_per_month": 5})
    tenants.set("page-asks", {"requests_per_minute": 60})
    tenants.set("page-full", {"concurrent_requests": 0})
    tenants.set("page-free", {"profiles": ["scripted"]})
    running = run_system(
        "scripted", profiles_folder, redis_url, temporal_address,
        authentication=Authentication(ApiKeys(keys.path)), alias="page-tenants", tenants=tenants.path,
    )  # fmt: skip
    async with running as system, serving(system.client.address) as http:
        async with AsyncClient(system.client.address, made["page-mine"]) as client:
            asked = to_dict(await client.ask(QUESTION))
        yield Guarded(str(http.base_url).rstrip("/"), made, asked["cost"]["usd"])


@asynccontextmanager
async def looking(browser: Browser, guarded: Guarded, key: str) -> AsyncIterator[Visit]:
    """A tab of somebody with this key; what it does keeps to itself."""
    async with visit(browser, guarded.address) as tab:
        await tab.use_key(guarded.keys[key])
        await tab.open("#/tenants")
        yield tab
        tab.assert_kept_to_itself()


async def cells(tab: Visit, tenant: str) -> list[str]:
    row = tab.page.get_by_role("row", name=tenant)
    await expect(row).to_be_visible()
    return [text.strip() for text in await row.get_by_role("cell").all_inner_texts()]


async def test_an_admin_sees_what_each_tenant_has_used_of_its_limits(browser: Browser, guarded: Guarded) -> None:
    async with looking(browser, guarded, "admin") as tab:
        today, month, requests, at_once, tokens = await cells(tab, "page-mine")
        assert (requests, at_once) == ("1 of 60", "0")
        assert int(tokens.replace(",", "")) > 0
        assert float(today.removeprefix("$")) == pytest.approx(guarded.usd, rel=0.01)
        assert month == f"{today} of $5.00"
        assert (await cells(tab, "page-full"))[3] == "0 of 0"
        await expect(tab.page.locator("td.full")).to_have_count(1)
        assert await cells(tab, "page-free") == ["no limits"]
        note = await tab.page.locator("main p.note").inner_text()
        assert re.search(r"The day begins again at \d{4}-\d\d-\d\d \d\d:\d\d:00, the month at \d{4}-\d\d-\d\d", note)
        assert await tab.serious_findings() == []
        assert await tab.overflow() == 0


async def test_it_is_read_again_while_it_is_looked_at(browser: Browser, guarded: Guarded) -> None:
    async with looking(browser, guarded, "page-asks") as tab:
        assert (await cells(tab, "page-asks"))[2] == "0 of 60"
        await tab.page.evaluate("import('/assets/api.js').then(({ ask }) => ask({ question: '[slm_eos=5]' }))")
        await expect(tab.page.get_by_role("row", name="page-asks")).to_contain_text("1 of 60")


async def test_a_tenant_sees_its_own_alone(browser: Browser, guarded: Guarded) -> None:
    async with looking(browser, guarded, "page-mine") as tab:
        await cells(tab, "page-mine")
        await expect(tab.page.locator("tbody tr")).to_have_count(1)
    async with looking(browser, guarded, "page-free") as tab:
        assert await cells(tab, "page-free") == ["no limits"]
        await expect(tab.page.locator("tbody tr")).to_have_count(1)
