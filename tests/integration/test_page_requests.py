"""The list of requests on the page: what was asked, a search in it, a keyboard's way through it, and a session's
requests with their running total.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from playwright.async_api import Route, expect

from tandem.client.tools import calls_as_data
from tests.browser import Visit, needs_browser
from tests.integration.conftest import System
from tests.integration.tabs import own_tab
from tests.integration.test_search import found
from tests.integration.test_tools import WEATHER, script

pytestmark = pytest.mark.asyncio(loop_scope="session")
EARLY = "[scores=16:0.9 slm_eos=5]"
QUESTIONS = ("How far is the moon?", "How far is the sun?", "Who was Ada Lovelace?")


@pytest_asyncio.fixture(loop_scope="session")
async def tab(system: System) -> AsyncIterator[Visit]:
    async with own_tab(system.client.address) as visiting:
        yield visiting


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tenant(system: System) -> str:
    """Has asked QUESTIONS, the last one last."""
    tenant = uuid4().hex[:12]
    for question in QUESTIONS:
        await system.client.ask(f"{question} {EARLY}", tenant=tenant)
    await found(system, f"tenant = {tenant} and cost > 0", len(QUESTIONS))
    return tenant


async def test_a_list_has_the_beginning_of_each_question_on_one_line(system: System) -> None:
    tenant = uuid4().hex[:12]
    await system.client.ask(f"Sum\n  up: {EARLY} {'1 ' * 100}", tenant=tenant)
    await system.client.ask(
        [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hi."},
            {"role": "user", "content": EARLY},
        ],
        tenant=tenant,
    )
    last, long = await found(system, f"tenant = {tenant}", 2)
    assert long["question"].startswith(f"Sum up: {EARLY} 1 1 1")
    assert long["question"].endswith("1 1…")
    assert len(long["question"]) <= 200
    assert (last["question"], last["tool"]) == (EARLY, "")


async def test_a_list_tells_a_tools_result_from_a_question(system: System) -> None:
    tenant = uuid4().hex[:12]
    said: list[dict[str, Any]] = script()
    first = await system.client.ask(said, tools=[WEATHER], tenant=tenant)
    calls = calls_as_data(first.tool_calls)
    said += [
        {"role": "assistant", "content": "", "tool_calls": calls},
        {"role": "tool", "tool_call_id": calls[0]["id"], "content": "rain"},
    ]
    await system.client.ask(said, tools=[WEATHER], tenant=tenant)
    rows = await found(system, f"tenant = {tenant}", 2)
    assert [(row["tool"], row["question"]) for row in rows] == [("w", "rain"), ("", said[0]["content"])]


@needs_browser
async def test_questions_are_shown_and_searched_as_one_types(tab: Visit, tenant: str) -> None:
    await tab.open(f"#/requests?tenant={tenant}")
    links = tab.page.locator("table.requests .asked a")
    await expect(links).to_have_text([f"{question} {EARLY}" for question in reversed(QUESTIONS)])
    search = tab.page.get_by_label("Search in these")
    await search.press_sequentially("FAR moon")
    await expect(links).to_have_text([f"{QUESTIONS[0]} {EARLY}"])
    await expect(tab.page.get_by_role("status")).to_have_text("1 of 3 requests.")
    await expect(search).to_be_focused()
    await tab.page.reload()  # the search is in the address
    await expect(links).to_have_count(1)
    await tab.page.get_by_label("How it ended").select_option("sufficient")
    await expect(tab.page).to_have_url(f"{tab.address}/#/requests?tenant={tenant}&search=FAR+moon&reason=sufficient")
    await search.fill("nothing of the kind")
    await expect(tab.page.locator(".empty")).to_contain_text("No request matches.")


@needs_browser
async def test_a_keyboard_goes_from_row_to_row_and_opens_one(tab: Visit, tenant: str) -> None:
    await tab.open(f"#/requests?tenant={tenant}")
    links = tab.page.locator("table.requests .asked a")
    await expect(links).to_have_count(3)
    await tab.page.get_by_label("Search in these").press("ArrowDown")
    for key, row in (("ArrowDown", 1), ("j", 2), ("j", 2), ("k", 1), ("Home", 0), ("ArrowUp", 0), ("End", 2)):
        await tab.page.keyboard.press(key)
        await expect(links.nth(row)).to_be_focused()
    await expect(tab.page.locator("table.requests a[tabindex='0']")).to_have_count(1)  # of the tab order
    await tab.page.get_by_role("link", name="Savings").focus()
    await tab.page.keyboard.press("k")  # from outside the list: back to the row that was reached
    await expect(links.nth(2)).to_be_focused()
    await tab.page.keyboard.press("Enter")
    await expect(tab.page.get_by_role("heading", level=1)).to_contain_text(QUESTIONS[0])


@needs_browser
@pytest.mark.parametrize("key", ["j", "k", "ArrowDown", "ArrowUp"])
async def test_on_a_fresh_load_a_key_goes_to_the_first_row(tab: Visit, tenant: str, key: str) -> None:
    await tab.open(f"#/requests?tenant={tenant}")
    links = tab.page.locator("table.requests .asked a")
    await expect(links).to_have_count(3)
    await tab.page.keyboard.press(key)
    await expect(links.nth(0)).to_be_focused()


@needs_browser
async def test_what_is_typed_into_a_field_moves_no_row(tab: Visit, tenant: str) -> None:
    await tab.open(f"#/requests?tenant={tenant}")
    await expect(tab.page.locator("table.requests .asked a")).to_have_count(3)
    search = tab.page.get_by_label("Search in these")
    await search.press_sequentially("jk")
    await expect(search).to_be_focused()
    await expect(search).to_have_value("jk")


@needs_browser
async def test_rows_are_reached_by_the_skip_link_in_two_keys_and_without_it_by_tab_in_nine(
    tab: Visit, tenant: str
) -> None:
    """Without it: the link itself, three views, the key, search, session, filter, and the row."""
    for keys in (["Tab", "Enter"], ["Tab"] * 9):
        await tab.open("#/requests")
        await tab.page.reload()
        first = tab.page.locator("table.requests .asked a").first
        await expect(first).to_be_visible()
        for key in keys:
            await tab.page.keyboard.press(key)
        await expect(first).to_be_focused()


@needs_browser
async def test_a_request_whose_question_cannot_be_read_is_named_by_its_id(tab: Visit, tenant: str) -> None:
    async def unread(route: Route) -> None:
        reply = await route.fetch()
        rows = [{**row, "question": ""} for row in (await reply.json())["requests"]]
        await route.fulfill(response=reply, body=json.dumps({"requests": rows}))

    await tab.page.route("**/api/requests?*", unread)
    await tab.open(f"#/requests?tenant={tenant}")
    link = tab.page.locator("table.requests .asked a").first
    await expect(link).to_have_text(await link.get_attribute("title") or "")


@needs_browser
async def test_a_session_has_its_requests_in_their_order_with_a_running_total(tab: Visit, system: System) -> None:
    tenant, usd = uuid4().hex[:12], []
    for end in (EARLY, "[llm_eos=20 slm_eos=5]"):
        usd.append((await system.client.ask(f"Go on. {end}", tenant=tenant, session="agent:1")).cost.usd)
        await system.client.ask(f"Alone. {end}", tenant=tenant)
    await found(system, f"tenant = {tenant} and cost > 0", 4)
    await tab.open(f"#/requests?tenant={tenant}")
    rows = tab.page.get_by_role("table", name="Requests").locator("tbody tr")
    await expect(rows).to_have_count(4)
    await rows.nth(3).get_by_role("link", name="agent:1").click()
    await expect(rows).to_have_count(2)
    await expect(tab.page.get_by_role("combobox", name="Session")).to_have_value("agent:1")
    await expect(rows.locator("[data-head=State]")).to_have_text(["small model, early", "large model"])
    shown = await rows.locator("[data-head='Running total']").all_inner_texts()
    whole = await tab.page.get_by_role("region", name="Session agent:1").locator(".lead").inner_text()
    amounts = [float(amount.removeprefix("$")) for amount in [*shown, whole]]
    assert amounts == [pytest.approx(amount, rel=0.01) for amount in (usd[0], sum(usd), sum(usd))]
    assert (await tab.serious_findings(), await tab.overflow()) == ([], 0)


@needs_browser
async def test_a_session_is_chosen_by_its_name(tab: Visit, system: System) -> None:
    tenant, name = uuid4().hex[:12], uuid4().hex
    for session in (name, ""):
        await system.client.ask(f"Go on. {EARLY}", tenant=tenant, session=session)
    await found(system, f"tenant = {tenant} and cost > 0", 2)
    await tab.open(f"#/requests?tenant={tenant}")
    field = tab.page.get_by_role("combobox", name="Session")
    await expect(tab.page.locator(f"datalist option[value='{name}']")).to_have_count(1)
    await field.fill(name)
    await field.press("Enter")
    await expect(tab.page).to_have_url(f"{tab.address}/#/requests?tenant={tenant}&session={name}")
    await expect(tab.page.locator("table.requests tbody tr")).to_have_count(1)
