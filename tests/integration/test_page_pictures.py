"""Every view, light and dark, wide and narrow: it fits its window and axe finds nothing serious.

`make test` takes the narrow view in the dark, which fits least and has the least contrast; the others are nightly, as a tour takes half a
minute. With TANDEM_PICTURES the pictures are kept in that folder, those of docs/page.md (`make pictures`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import pytest
import pytest_asyncio
from PIL import Image
from playwright.async_api import Browser, Route, expect

from tandem import AsyncClient
from tandem.tenants import TenantFile
from tests.browser import NARROW, WIDE, Visit, chromium, needs_browser, visit
from tests.integration.conftest import run_system
from tests.integration.edge import serving

pytestmark = [pytest.mark.asyncio(loop_scope="session"), needs_browser]
QUESTION = "A train leaves at 9:40 and arrives at 13:05. How long is the journey?"
CODE = 'def mean(values):\n    """The mean.\n\n    >>> mean([2, 4, 9])\n    5.0\n    """\n'
TENANTS = ("web", "lab", "batch")
THRESHOLDS = (None, 0.5, 0.95, 0.3)
_KEPT = ("ask-", "code-wide-dark", "request-", "requests-", "savings-", "tenants-", "plan-")
# Text spaced as WCAG 1.4.12 lets a reader space it, in letters that are wider than ours, and form controls that are by themselves
# wider than a narrow column: more than what another machine's fonts and another browser's controls do.
WIDE_LETTERS = """
*, *::before { font-family: "Tandem Mono" !important; letter-spacing: 0.12em !important; word-spacing: 0.16em !important; }
:where(select, input:not([type="radio"])) { width: 24rem; }
"""
_COLORS = 128
_PICTURE_HEIGHT = 1400


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def address(
    redis_url: str,
    temporal_address: str,
    profiles_folder: Path,
    checker_address: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[str]:
    """A page with some requests behind it; the profile's prompts hold the script, so that questions look like ones."""
    limits = TenantFile(tmp_path_factory.mktemp("tenants") / "tenants.json")
    limits.set("web", {"requests_per_minute": 600, "usd_per_day": 5, "usd_per_month": 100})
    limits.set("lab", {"concurrent_requests": 16, "tokens_per_minute": 200_000, "usd_per_month": 20})
    limits.set("batch", {})
    running = run_system(
        "scripted-page", profiles_folder, redis_url, temporal_address, checker_address, tenants=limits.path
    )
    async with running as system, serving(system.client.address) as http:
        await asyncio.gather(*(_asked(system.client, index) for index in range(12)))
        yield str(http.base_url).rstrip("/")


async def _asked(client: AsyncClient, index: int) -> None:
    is_code = index % 4 == 3
    await client.ask(
        CODE if is_code else QUESTION,
        task="code" if is_code else "answer",
        tenant=TENANTS[index % 3],
        threshold=THRESHOLDS[index % 4],
    )


@pytest.mark.parametrize(
    ("size", "scheme"),
    [
        pytest.param(NARROW, "dark", id="narrow-dark"),
        pytest.param(NARROW, "light", id="narrow-light", marks=pytest.mark.nightly),
        pytest.param(WIDE, "dark", id="wide-dark", marks=pytest.mark.nightly),
        pytest.param(WIDE, "light", id="wide-light", marks=pytest.mark.nightly),
    ],
)
async def test_every_view_fits_and_axe_finds_nothing_serious(
    browser: Browser, address: str, size: tuple[int, int], scheme: str
) -> None:
    async with visit(browser, address, size, scheme) as tab:
        await _tour(tab, f"{'wide' if size == WIDE else 'narrow'}-{scheme}")


@pytest.mark.nightly
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
async def test_every_view_fits_with_wide_letters(browser: Browser, address: str, size: tuple[int, int]) -> None:
    async with visit(browser, address, size) as tab:
        await tab.page.route("**/page.css", _with_wide_letters)
        await _tour(tab, "wide-letters")


async def _tour(tab: Visit, suffix: str) -> None:
    """Looks at every view."""
    await tab.open()
    await _look(tab, f"empty-{suffix}")
    request_id = await tab.ask(QUESTION)
    await expect(tab.page.locator(".stage-end").nth(1)).to_be_visible()
    await _look(tab, f"live-{suffix}")
    await tab.done()
    await _look(tab, f"ask-{suffix}")
    await tab.ask(CODE, "Code")
    await expect(tab.page.locator(".checks .pass")).to_be_visible()
    await tab.done()
    await _look(tab, f"code-{suffix}")
    await tab.open(f"#/requests/{request_id}")
    await tab.done()
    await expect(tab.page.get_by_role("table", name="Steps")).to_be_visible()
    await _look(tab, f"request-{suffix}")
    await tab.open("#/requests")
    await expect(tab.page.locator("table.requests tbody tr").nth(11)).to_be_visible()
    await _look(tab, f"requests-{suffix}")
    await tab.open("#/savings")
    await expect(tab.page.locator(".chart canvas").nth(1)).to_be_visible()
    await _look(tab, f"savings-{suffix}")
    await tab.open("#/tenants")
    await expect(tab.page.locator("table.sums tbody tr")).to_have_count(len(TENANTS))
    await _look(tab, f"tenants-{suffix}")
    await tab.open("#/plan")
    await expect(tab.page.locator(".plot rect").first).to_be_attached()
    await _look(tab, f"plan-{suffix}")
    await tab.page.get_by_role("button", name="API key").click()
    await _look(tab, f"key-{suffix}")
    tab.assert_kept_to_itself()


async def _with_wide_letters(route: Route) -> None:
    reply = await route.fetch()
    await route.fulfill(response=reply, body=await reply.text() + WIDE_LETTERS)


async def _look(tab: Visit, name: str) -> None:
    folder = os.environ.get("TANDEM_PICTURES")
    if folder and name.startswith(_KEPT) and not name.endswith("-letters"):
        _save(await tab.page.screenshot(full_page=True), Path(folder) / f"{name}.png")
    assert await tab.overflow() == 0, name
    assert await tab.serious_findings() == [], name


def _save(picture: bytes, file: Path) -> None:
    """Few colours are enough for ink on paper, and make a small file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(BytesIO(picture)) as image:
        top = image.convert("RGB").crop((0, 0, image.width, min(image.height, _PICTURE_HEIGHT)))
        top.quantize(_COLORS).save(file, optimize=True)
