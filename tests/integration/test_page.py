"""The page in a real browser, before a real gateway, Temporal and Redis."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tandem.local.ports import free_port
from tests.browser import Visit, needs_browser, visit
from tests.conftest import Hold
from tests.integration.asking import ended_timeline, idle
from tests.integration.conftest import System
from tests.integration.edge import serving

pytestmark = [pytest.mark.asyncio(loop_scope="session"), needs_browser]
FIRST_VIEW_BYTES = 300_000
EARLY = "[scores=16:0.9 llm=word_ llm_hold=20 slm=more_ slm_eos=9]"
ANSWER = "section.answer .text"


@pytest_asyncio.fixture(loop_scope="session")
async def tab(browser: Browser, edge_address: str) -> AsyncIterator[Visit]:
    """A tab; after every test, whatever it did, nothing was asked of others, refused or thrown."""
    async with visit(browser, edge_address) as visiting:
        yield visiting
        visiting.assert_kept_to_itself()


async def text(page: Page, selector: str) -> str:
    return await page.locator(selector).inner_text()


async def wrote(tab: Visit, beginning: str) -> None:
    """Wait until the insight begins so: a log that answers late sends its text after the result, and the page asks for
    it.
    """
    async with asyncio.timeout(10):
        while not (await tab.insight()).startswith(beginning):
            await asyncio.sleep(0.05)


async def test_a_question_shows_both_models_scores_the_stop_and_the_bill(tab: Visit, system: System) -> None:
    await tab.open()
    request_id = await tab.ask(EARLY)
    await tab.done()
    result = (await system.client.get(request_id)).result
    await wrote(tab, "word word word w")
    await expect(tab.page.locator(ANSWER)).to_contain_text("more mor")
    used = tab.page.locator(".stages .sufficient")
    await expect(used).to_have_count(1)
    await expect(used).to_contain_text("0.90 of 0.80")
    await expect(used.get_by_role("img", name="score 0.90, threshold 0.80")).to_be_visible()
    await expect(tab.page.locator(".ending")).to_contain_text(
        "a stage's score reached its threshold: 0.90, with a threshold of 0.80."
    )
    await expect(tab.page.locator(".ending")).to_contain_text("The large model halted")
    shown = await text(tab.page, "[data-testid=bill]")
    assert float(shown.removeprefix("$")) == pytest.approx(result.cost.usd, rel=0.01)
    await tab.page.get_by_role("heading", name="Bill by role and state").click()  # it is folded away
    overrun = tab.page.get_by_role("row", name="Overrun").get_by_role("cell").first
    await expect(overrun).to_have_text(str(result.usage.llm.overrun_tokens))


async def test_the_bill_counts_up_and_the_estimate_stands_beside_it(tab: Visit, hold: Hold) -> None:
    await tab.open()
    await tab.ask(f"[llm_hold=24:{hold} scores=32:0.9 slm_eos=5]")
    await expect(tab.page.locator(".insight .figure")).to_have_text("24 tokens")
    await expect(tab.page.locator(".running")).to_contain_text("Generated so far")
    await expect(tab.page.get_by_test_id("bill")).to_have_text("$0.000144")  # 24 tokens at 6 USD a million
    await expect(tab.page.locator(".running")).to_contain_text("$0.000600")  # 100 tokens alone
    hold.release()
    await tab.done()
    assert float((await text(tab.page, "[data-testid=bill]")).removeprefix("$")) > 0.000144


async def test_stop_ends_both_models_and_keeps_the_bill(tab: Visit, system: System) -> None:
    await tab.open()
    await tab.ask("[llm_hold=20]")
    await expect(tab.page.locator(".insight .figure")).to_have_text("20 tokens")
    await tab.page.get_by_role("button", name="Stop").click()
    await idle(system)
    await tab.done()
    await expect(tab.page.locator(".ending")).to_contain_text("Stopped by hand")
    await expect(tab.page.get_by_role("button", name="Ask", exact=True)).to_be_visible()


async def test_a_reload_in_the_middle_goes_on_reading(tab: Visit, hold: Hold) -> None:
    await tab.open()
    question = f"[llm_hold=24:{hold} llm=word_ scores=32:0.9 slm_eos=5]"
    await tab.ask(question)
    await expect(tab.page.locator(".insight .figure")).to_have_text("24 tokens")
    before = await tab.insight()
    await tab.page.reload()
    await expect(tab.page.locator(".insight .figure")).to_have_text("24 tokens")
    assert await tab.insight() == before
    await expect(tab.page.locator("main > .said")).to_have_text(question)
    hold.release()
    await tab.done()
    await wrote(tab, before.rstrip())


async def test_two_tabs_read_one_request(tab: Visit, browser: Browser, hold: Hold) -> None:
    await tab.open()
    request_id = await tab.ask(f"[llm_hold=24:{hold} scores=32:0.9 slm=more_ slm_eos=5]")
    async with visit(browser, tab.address) as other:
        await other.open(f"#/ask/{request_id}")
        await expect(other.page.locator(".insight .figure")).to_have_text("24 tokens")
        hold.release()
        for one in (tab, other):
            await one.done()
            await expect(one.page.locator(ANSWER)).to_have_text(f"large model{'x' * 32}small modelmore")


async def test_a_restart_of_the_edge_in_the_middle_loses_nothing(browser: Browser, system: System, hold: Hold) -> None:
    port = free_port()
    async with visit(browser, f"http://127.0.0.1:{port}") as tab:
        async with serving(system.client.address, port):
            await tab.open()
            await tab.ask(f"[llm_hold=24:{hold} llm=word_ scores=32:0.9 slm=more_ slm_eos=5]")
            await expect(tab.page.locator(".insight .figure")).to_have_text("24 tokens")
            await tab.page.evaluate("window.isTheSamePage = true")
        hold.release()
        async with serving(system.client.address, port):
            await tab.done()
            await wrote(tab, "word word word word word wor")
            await expect(tab.page.locator(ANSWER)).to_have_text(
                "large modelword word word word word word wosmall modelmore"
            )
        assert await tab.page.evaluate("window.isTheSamePage")


async def test_requests_are_listed_filtered_and_opened(tab: Visit, system: System) -> None:
    tenant = f"t-{uuid4().hex[:8]}"
    early = await system.client.ask(EARLY, tenant=tenant)
    late = await system.client.ask("[scores=48:0.2 slm_eos=5]", tenant=tenant)
    rows = tab.page.locator("table.requests tbody tr")
    await tab.open("#/requests")
    await tab.page.get_by_text("Filter", exact=True).click()
    await tab.page.get_by_label("Tenant").press_sequentially(tenant)
    await tab.page.get_by_label("Tenant").press("Enter")
    await expect(tab.page).to_have_url(re.compile(f"tenant={tenant}"))
    await _until_listed(tab, 2)
    await expect(rows.first.locator(f"a[href='#/requests/{late.request_id}']")).to_be_visible()
    await tab.page.get_by_label("How it ended").select_option("sufficient")
    await expect(rows).to_have_count(1)
    await tab.page.reload()  # the filter is in the address
    await expect(rows).to_have_count(1)
    await expect(tab.page.get_by_text("Filter (2 set)")).to_be_visible()
    await expect(tab.page.get_by_label("How it ended")).to_have_value("sufficient")
    await tab.page.get_by_role("link", name=EARLY).click()
    await expect(tab.page.get_by_role("heading", name=EARLY)).to_be_visible()
    await tab.done()
    await expect(tab.page.locator(".stages .used")).to_contain_text("0.90 of 0.80")
    await expect(tab.page.locator(".opened")).to_contain_text(early.trace_id)


async def test_an_opened_request_shows_its_steps_over_time(tab: Visit, system: System) -> None:
    result = await system.client.ask(EARLY)
    timeline = await ended_timeline(system, result.request_id)
    await tab.open(f"#/requests/{result.request_id}")
    steps = tab.page.get_by_role("table", name="Steps").get_by_role("row")
    await expect(steps.filter(has_text="Large model writes")).to_have_count(1)
    await expect(steps.filter(has_text="Score stage 1")).to_have_count(1)
    answers = steps.filter(has_text="Small model answers from stage 1")
    [step] = [step for step in timeline.steps if step.name == "execute"]
    await expect(answers.get_by_role("cell").first).to_have_text(written(step.started))
    await expect(answers.get_by_role("cell").last).to_have_text(written(step.ended - step.started))
    bar = await answers.locator(".bar").evaluate("bar => [bar.style.left, bar.style.width].map(parseFloat)")
    shares = [100 * step.started / timeline.duration_ms, 100 * (step.ended - step.started) / timeline.duration_ms]
    assert bar == pytest.approx(shares, abs=0.01)
    await expect(tab.page.locator(".waterfall")).to_contain_text("From Temporal's history")


async def test_savings_are_the_sums_of_the_requests(tab: Visit, system: System) -> None:
    await system.client.ask(EARLY)
    await tab.open("#/savings?since=")
    await expect(tab.page.locator(".figures .lead")).to_contain_text("%")
    await expect(tab.page.get_by_role("img", name="Cost over time").locator("canvas")).to_be_visible()
    listed = (await system.client.list(limit=1000)).requests
    counted = [
        request for request in listed if request.state == 2 and request.HasField("saved_ratio")
    ]  # answered whole
    figures = tab.page.locator(".figures").first
    await expect(figures).to_contain_text(f"{len(counted)}")
    shown = await figures.locator("> div:nth-child(2) dd").inner_text()
    assert float(shown.removeprefix("$")) == pytest.approx(sum(request.usd for request in counted), rel=0.01)


async def test_savings_show_how_long_requests_take_for_one_tenant(tab: Visit, system: System) -> None:
    tenant = f"t-{uuid4().hex[:8]}"
    for script in (EARLY, EARLY, "[scores=16:0.9 slm_eos=3 score_ms=900]"):
        await system.client.ask(script, tenant=tenant)
    await tab.open("#/requests?tenant=" + tenant)
    await _until_listed(tab, 3)
    listed = (await system.client.list(f'tenant = "{tenant}"')).requests
    took = sorted(request.duration_ms for request in listed)
    await tab.open(f"#/savings?since=&tenant={tenant}")
    quantiles = dict(zip(("p50", "p95", "p99"), (took[1], took[2], took[2]), strict=True))
    for name, ms in quantiles.items():
        shown = tab.page.locator(f".figures > div:has(dt:text-is('{name}')) dd")
        await expect(shown).to_have_text(written(ms))
    row = tab.page.get_by_role("table", name="Time by tenant").get_by_role("row", name=tenant)
    await expect(row).to_contain_text("3")
    endings = tab.page.get_by_role("table", name="How requests ended").get_by_role("row")
    await expect(endings.nth(1)).to_contain_text("small model, early")


async def test_a_refusal_is_said_and_the_form_stays(tab: Visit) -> None:
    await tab.open()
    await tab.page.locator(".segments label:has-text('Answer')").click()
    await tab.page.get_by_label("Question", exact=True).fill("x" * 500)
    await tab.page.get_by_role("button", name="Ask", exact=True).click()
    await expect(tab.page.get_by_role("alert")).to_contain_text("400")
    await expect(tab.page.get_by_label("Question", exact=True)).to_have_value("x" * 500)


async def test_a_request_that_fails_says_why(tab: Visit) -> None:
    await tab.open()
    await tab.ask("[fail=slm scores=16:0.9 llm_hold=20]")
    await expect(tab.page.locator(".ending.problem")).not_to_be_empty()
    await expect(tab.page.get_by_role("button", name="Ask", exact=True)).to_be_visible()


async def test_the_key_is_kept_in_this_tab_and_sent_with_every_call(tab: Visit, browser: Browser) -> None:
    sent: list[str | None] = []
    tab.page.on("request", lambda request: "/api/" in request.url and sent.append(request.headers.get("authorization")))
    await tab.open()
    await tab.page.get_by_role("button", name="API key").click()
    await tab.page.get_by_label("API key or token").fill("tdm_secret")
    await tab.page.get_by_role("button", name="Use it").click()
    await expect(tab.page.get_by_role("button", name="API key set")).to_be_visible()
    await expect(tab.page.get_by_label("Profile")).to_be_visible()
    sent.clear()
    await tab.ask(EARLY)
    await tab.done()
    assert len(sent) == 2  # asked, and read
    assert set(sent) == {"Bearer tdm_secret"}
    async with visit(browser, tab.address) as other:
        await other.open()
        await expect(other.page.get_by_role("button", name="API key", exact=True)).to_be_visible()


async def test_everything_is_reached_by_the_keyboard(tab: Visit) -> None:
    await tab.open()
    await tab.page.get_by_role("radio", name="Chat").focus()
    await tab.page.keyboard.press("ArrowRight")
    await tab.page.get_by_label("Question", exact=True).focus()
    await tab.page.keyboard.type(EARLY)
    await tab.page.keyboard.press("Enter")
    await tab.done()
    await tab.page.get_by_role("link", name="Requests").focus()
    await tab.page.keyboard.press("Enter")
    await expect(tab.page.get_by_role("heading", name="Requests")).to_be_visible()
    assert await tab.page.evaluate("document.activeElement.id") == "main"


@pytest.mark.parametrize("view", ["ask", "savings", "keys"])
async def test_the_skip_link_leads_past_the_navigation(tab: Visit, view: str) -> None:
    await tab.open(f"#/{view}")
    for key in ("Tab", "Enter", "Tab"):
        await tab.page.keyboard.press(key)
    assert await tab.page.evaluate("document.activeElement.closest('main') !== null")


async def test_an_address_that_leads_to_no_view_says_so_and_where_things_are(tab: Visit) -> None:
    await tab.open("#/sessions/agent-1?tenant=web")
    main = tab.page.get_by_role("main")
    await expect(main.get_by_role("heading", level=1)).to_have_text("No such view")
    await expect(main).to_contain_text("The page has no view sessions.")
    await expect(main).to_contain_text("tandem tenants list")
    assert await tab.serious_findings() == []
    await main.get_by_role("link", name="Requests").click()
    await expect(main.get_by_role("heading", level=1)).to_have_text("Requests")


async def test_the_first_view_is_small(tab: Visit) -> None:
    await tab.open()
    await expect(tab.page.get_by_label("Profile")).to_be_visible()
    await asyncio.sleep(0.5)  # what it would load later
    sizes = "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
    loaded = await tab.page.evaluate(f"{sizes}.reduce((sum, entry) => sum + entry.decodedBodySize, 0)")
    assert 0 < loaded < FIRST_VIEW_BYTES


def written(ms: float) -> str:
    """As the page writes a duration."""
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.1f} s"


async def _until_listed(tab: Visit, rows: int) -> None:
    """Temporal lists a request a moment after its end."""
    async with asyncio.timeout(30):
        while await tab.page.locator("table.requests tbody tr:has-text('%')").count() < rows:
            await tab.page.reload()
            await tab.page.locator("[role=status]:not(:empty)").wait_for()
