"""Every view, light and dark, wide and narrow: it fits its window and axe finds nothing serious.

`make test` takes the narrow view in the dark, which fits least and has the least contrast; the others are nightly, as a
tour takes half a minute. With TANDEM_PICTURES the pictures are kept in that folder, those of docs/page.md (`make
pictures`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pytest
import pytest_asyncio
from PIL import Image
from playwright.async_api import Browser, FilePayload, Route, expect

from services.shared.identity.authentication import ApiKeys, Authentication
from tandem import AsyncClient
from tandem.access.keys import KeyFile
from tests.browser import NARROW, WIDE, Visit, needs_browser, visit
from tests.integration.conftest import run_system
from tests.integration.edge import serving

pytestmark = [pytest.mark.asyncio(loop_scope="session"), needs_browser]
QUESTION = "A train leaves at 9:40 and arrives at 13:05. How long is the journey?"
CODE = 'def mean(values):\n    """The mean.\n\n    >>> mean([2, 4, 9])\n    5.0\n    """\n'
TENANTS = ("web", "lab", "batch")
THRESHOLDS = (None, 0.5, 0.95, 0.3)
# What both models write in turn: a call, then a formula. `_` is a space.
AGENT = (
    'turns=<call>weather_{"city":_"Paris",_"day":_"tomorrow"}</call>;;Yes,_take_one._Of_the_next_$24$_hours_it_rains_in_$6$:_'
    "$$P=\\frac{6}{24}=25\\,\\%$$"
)
# The pictures of docs/page.md, and how many pixels of each page they show at most.
PICTURES = {
    "first-wide-light": 600,
    "ask-wide-light": 1400,
    "live-wide-light": 1400,
    "call-wide-light": 800,
    "code-wide-dark": 1000,
    "requests-wide-light": 900,
    "session-wide-light": 600,
    "request-wide-light": 1700,
    "savings-wide-light": 2600,
    "ask-narrow-light": 1300,
    "requests-narrow-dark": 1300,
    "savings-narrow-dark": 1300,
}
# Text spaced as WCAG 1.4.12 lets a reader space it, in letters that are wider than ours, and form controls that are by
# themselves wider than a narrow column: more than what another machine's fonts and another browser's controls do.
WIDE_LETTERS = """
*, *::before { font-family: "Tandem Mono" !important; letter-spacing: 0.12em !important; word-spacing: 0.16em !important; }
:where(select, input:not([type="radio"])) { width: 24rem; }
"""
CLIPPED = """[...document.querySelectorAll("main :is(.scroll, td, th)")]
  .filter((box) => getComputedStyle(box.closest("thead") ?? box).clipPath === "none" && box.scrollWidth > box.clientWidth + 1)
  .map((box) => box.ariaLabel ?? box.textContent)"""
LONGER = """document.querySelectorAll(".sums td:is([data-head=USD], [data-head^=Large])")
  .forEach((td) => td.append("00000"))"""
# Views with nothing to show.
NOTHING = (
    "requests?tenant=nobody",
    "requests?search=nothing+of+the+kind",
    "requests?session=nothing",
    "requests/no-such-request",
    "savings?tenant=nobody",
)
_COLORS = 128


@dataclass(frozen=True)
class Looked:
    """A page, and who looks at it: an admin's key."""

    address: str
    key: str


@contextlib.asynccontextmanager
async def _visit(
    browser: Browser, looked: Looked, size: tuple[int, int], scheme: str = "light"
) -> AsyncIterator[Visit]:
    async with visit(browser, looked.address, size, scheme) as tab:
        await tab.use_key(looked.key)
        yield tab


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def looked(
    redis_url: str,
    temporal_address: str,
    profiles_folder: Path,
    checker_address: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Looked]:
    """A page with some requests behind it; the profile's prompts hold the script, so that questions look like ones."""
    folder = tmp_path_factory.mktemp("pictures")
    keys = KeyFile(folder / "keys.json")
    admin = keys.create(TENANTS[0], ["admin"])[1]
    running = run_system(
        "scripted-page", profiles_folder, redis_url, temporal_address, checker_address,
        authentication=Authentication(ApiKeys(keys.path)),
    )  # fmt: skip
    async with (
        running as system,
        serving(system.client.address) as http,
        AsyncClient(system.client.address, admin) as client,
    ):
        for first in range(0, 12, 4):
            await asyncio.gather(*(_asked(client, first + index) for index in range(4)))
        yield Looked(str(http.base_url).rstrip("/"), admin)


async def _asked(client: AsyncClient, index: int) -> None:
    is_code = index % 4 == 3
    result = await client.ask(
        CODE if is_code else QUESTION,
        task="code" if is_code else "answer",
        tenant=TENANTS[index % 3],
        session=f"agent-{index % 3}",
        threshold=THRESHOLDS[index % 4],
    )
    await client.report(result.request_id, index != 1)


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
    browser: Browser, looked: Looked, size: tuple[int, int], scheme: str
) -> None:
    async with _visit(browser, looked, size, scheme) as tab:
        await _tour(tab, f"{'wide' if size == WIDE else 'narrow'}-{scheme}")


@pytest.mark.parametrize("width", [360, pytest.param(390, marks=pytest.mark.nightly), 1440])
async def test_no_cell_of_a_table_is_wider_than_its_box(browser: Browser, looked: Looked, width: int) -> None:
    async with _visit(browser, looked, (width, 900)) as tab:
        for view in ("requests", "requests?session=agent-0", "savings"):
            await tab.open(f"#/{view}")
            await expect(tab.page.locator("main table tbody tr").first).to_be_visible()
            assert await tab.page.evaluate(CLIPPED) == [], view
            if width < 500:  # amounts of more requests are longer
                await tab.page.evaluate(LONGER)
                assert await tab.page.evaluate(CLIPPED) == [], view
            assert await tab.broken_amounts() == [], view


@pytest.mark.parametrize("size", [(390, 844), WIDE], ids=["phone", "wide"])
async def test_no_words_touch_where_a_view_has_nothing_to_show_or_asks_for_something(
    browser: Browser, looked: Looked, size: tuple[int, int]
) -> None:
    async with _visit(browser, looked, size) as tab:
        for view in NOTHING:
            await tab.open(f"#/{view}")
            await expect(tab.page.locator("main :is(.empty, .problem)").first).to_be_visible()
            assert await tab.joined_words() == [], view
        await _label_disputes(tab)
        assert await tab.joined_words() == []


@pytest.mark.nightly
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
async def test_every_view_fits_with_wide_letters(browser: Browser, looked: Looked, size: tuple[int, int]) -> None:
    async with _visit(browser, looked, size) as tab:
        await tab.page.route("**/page.css", _with_wide_letters)
        await _tour(tab, "wide-letters")


async def _tour(tab: Visit, suffix: str) -> None:
    """Looks at every view."""
    await _conversations(tab, suffix)
    await _asking(tab, suffix)
    await tab.open("#/requests")
    await expect(tab.page.locator("table.requests tbody tr").nth(11)).to_be_visible()
    await _look(tab, f"requests-{suffix}")
    await tab.page.get_by_role("link", name="agent-0").first.click()
    await expect(tab.page.locator("table.requests tbody tr")).to_have_count(4)
    await _look(tab, f"session-{suffix}")
    await tab.open("#/requests?reason=sufficient&since=24")
    await tab.page.get_by_text("Filter (2 set)").click()
    await _look(tab, f"filtered-{suffix}")
    await tab.open("#/savings")
    await expect(tab.page.locator(".chart canvas").nth(1)).to_be_visible()
    await _look(tab, f"savings-{suffix}")
    await expect(tab.page.get_by_role("table", name="Outcomes by policy").locator("tbody tr")).to_have_count(1)
    await _label_disputes(tab)
    await _look(tab, f"outcomes-{suffix}")
    await tab.page.get_by_role("button", name="API key").click()
    await _look(tab, f"key-{suffix}")
    tab.assert_kept_to_itself()


async def _conversations(tab: Visit, suffix: str) -> None:
    """The first visit, a turn with a tool, and a request that fails."""
    await tab.open()
    await _look(tab, f"first-{suffix}")
    await tab.page.get_by_role("button", name="A tool call").click()
    await tab.page.get_by_text("More (1 set)").click()
    await tab.page.get_by_label("System prompt").fill(f"[{AGENT}]")
    await tab.page.get_by_role("button", name="Ask", exact=True).click()
    await tab.done()
    await tab.page.get_by_label("Result of weather").fill("6 h of rain, 11 °C")
    await _look(tab, f"call-{suffix}")
    await tab.page.get_by_role("button", name="Go on").click()
    await expect(tab.page.locator("main > .tool")).to_be_visible()
    await tab.done()
    await expect(tab.page.locator("section.answer math").last).to_be_visible()
    await _look(tab, f"answered-{suffix}")
    await tab.page.get_by_role("link", name="Begin anew").click()
    await tab.page.get_by_text("More (2 set)").click()
    await tab.page.get_by_label("System prompt").fill("[fail=slm scores=16:0.9 llm=word_]")
    await tab.page.get_by_label("Tools", exact=True).fill("")
    await tab.page.get_by_label("Question", exact=True).fill(QUESTION)
    await tab.page.get_by_role("button", name="Ask", exact=True).click()
    await expect(tab.page.locator(".ending.problem")).to_be_visible()
    await _look(tab, f"failed-{suffix}")
    await tab.page.evaluate("sessionStorage.removeItem('tandem-asked')")


async def _asking(tab: Visit, suffix: str) -> None:
    """A question and a function at work and done, and one request opened."""
    await tab.open()
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


async def _label_disputes(tab: Visit) -> None:
    """In the view of savings: one of two has its label."""
    texts = {"id": "r1", "kind": "tools", "question": "How far?", "left": "1 km", "right": "2 km"}
    file = json.dumps({"file": "mine.jsonl", "disputes": [texts, texts | {"id": "r2"}]}).encode()
    given = FilePayload(name="disputes.json", mimeType="application/json", buffer=file)
    await tab.page.get_by_text("Label disputes").click()
    await tab.page.get_by_label("File of disputes").set_input_files(given)
    await tab.page.get_by_role("button", name="Left").click()
    await expect(tab.page.get_by_role("status")).to_have_text("1 of 2 have a label.")


async def _with_wide_letters(route: Route) -> None:
    reply = await route.fetch()
    await route.fulfill(response=reply, body=await reply.text() + WIDE_LETTERS)


async def _look(tab: Visit, name: str) -> None:
    folder = os.environ.get("TANDEM_PICTURES")
    if folder and name in PICTURES:
        await tab.page.mouse.move(0, 0)  # nothing looks as if pointed at
        # What stays at the window's lower edge would lie across a picture of the whole page.
        await tab.page.evaluate("document.querySelector('.ask')?.style.setProperty('position', 'static')")
        _save(await tab.page.screenshot(full_page=True), PICTURES[name], Path(folder) / f"{name}.png")
    assert await tab.overflow() == 0, name
    assert await tab.serious_findings() == [], name
    assert await tab.joined_words() == [], name
    assert await tab.broken_amounts() == [], name


def _save(picture: bytes, height: int, file: Path) -> None:
    """Few colours are enough for ink on paper, and make a small file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(BytesIO(picture)) as image:
        top = image.convert("RGB").crop((0, 0, image.width, min(image.height, height)))
        top.quantize(_COLORS).save(file, optimize=True)
