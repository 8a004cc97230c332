"""The list of requests on the page: what was asked, a search in it, and a keyboard's way through it; and the sessions
that requests are turns of.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from playwright.async_api import Route, expect

from tandem import to_dict
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
    links = tab.page.locator("table.requests tbody a")
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
    links = tab.page.locator("table.requests tbody a")
    await expect(links).to_have_count(3)
    await tab.page.get_by_label("Search in these").press("ArrowDown")
    for key, row in (("ArrowDown", 1), ("j", 2), ("j", 2), ("k", 1), ("Home", 0), ("ArrowUp", 0), ("End", 2)):
        await tab.page.keyboard.press(key)
        await expect(links.nth(row)).to_be_focused()
    await expect(tab.page.locator("table.requests a[tabindex='0']")).to_have_count(1)  # of the tab order
    await tab.page.keyboard.press("Enter")
    await expect(tab.page.get_by_role("heading", level=1)).to_contain_text(QUESTIONS[0])


@needs_browser
@pytest.mark.parametrize("key", ["j", "k", "ArrowDown", "ArrowUp"])
async def test_on_a_fresh_load_a_key_goes_to_the_first_row_and_on_from_there(tab: Visit, tenant: str, key: str) -> None:
    await tab.open(f"#/requests?tenant={tenant}")
    links = tab.page.locator("table.requests tbody a")
    await expect(links).to_have_count(3)
    await tab.page.keyboard.press(key)
    await expect(links.nth(0)).to_be_focused()
    await tab.page.keyboard.press("j")
    await expect(links.nth(1)).to_be_focused()


@needs_browser
async def test_from_outside_the_list_a_key_goes_back_to_the_row_that_was_reached(tab: Visit, tenant: str) -> None:
    await tab.open(f"#/requests?tenant={tenant}")
    links = tab.page.locator("table.requests tbody a")
    await expect(links).to_have_count(3)
    for key in "jj":
        await tab.page.keyboard.press(key)
    await tab.page.get_by_role("link", name="Savings").focus()
    await tab.page.keyboard.press("j")
    await expect(links.nth(1)).to_be_focused()


@needs_browser
async def test_what_is_typed_into_a_field_moves_no_row(tab: Visit, tenant: str) -> None:
    await tab.open(f"#/requests?tenant={tenant}")
    await expect(tab.page.locator("table.requests tbody a")).to_have_count(3)
    search = tab.page.get_by_label("Search in these")
    await search.press_sequentially("jk")
    await expect(search).to_be_focused()
    await expect(search).to_have_value("jk")


@needs_browser
async def test_the_skip_link_leads_to_the_rows_in_two_keys(tab: Visit, tenant: str) -> None:
    await tab.open(f"#/requests?tenant={tenant}")
    links = tab.page.locator("table.requests tbody a")
    await expect(links).to_have_count(3)
    for key in ("Tab", "Enter"):
        await tab.page.keyboard.press(key)
    await expect(links.nth(0)).to_be_focused()


@needs_browser
async def test_a_request_whose_question_cannot_be_read_is_named_by_its_id(tab: Visit, tenant: str) -> None:
    async def unread(route: Route) -> None:
        reply = await route.fetch()
        rows = [{**row, "question": ""} for row in (await reply.json())["requests"]]
        await route.fulfill(response=reply, body=json.dumps({"requests": rows}))

    await tab.page.route("**/api/requests?*", unread)
    await tab.open(f"#/requests?tenant={tenant}")
    link = tab.page.locator("table.requests tbody a").first
    await expect(link).to_have_text(await link.get_attribute("title") or "")


@needs_browser
async def test_a_session_shows_who_answered_each_turn_and_what_all_have_cost(tab: Visit, system: System) -> None:
    tenant = uuid4().hex[:12]
    results = []
    for end in (EARLY, "[llm_eos=20 slm_eos=5]"):
        results.append(await system.client.ask(f"Go on. {end}", tenant=tenant, session="agent:1"))
        await system.client.ask(f"Alone. {end}", tenant=tenant)
    usd = [result.cost.usd for result in results]
    await found(system, f"tenant = {tenant} and cost > 0", 4)
    await tab.open(f"#/sessions?tenant={tenant}")
    row = tab.page.get_by_role("table", name="Sessions").locator("tbody tr")
    await expect(row).to_have_count(1)  # a question by itself is of no session
    answered, turns, cost, _ = (await row.get_by_role("cell").all_inner_texts())[2:]
    assert (turns, answered) == ("2", "1 large model; 1 small model, early")
    assert float(cost.removeprefix("$")) == pytest.approx(sum(usd), rel=0.01)
    assert await tab.serious_findings() == []

    await row.get_by_role("link", name="agent:1").press("Enter")
    await expect(tab.page.get_by_role("heading", level=1)).to_have_text("Session agent:1")
    rows = tab.page.get_by_role("table", name="Turns").locator("tbody tr")
    await expect(rows).to_have_count(2)
    cells = [await rows.nth(at).get_by_role("cell").all_inner_texts() for at in range(2)]
    usage = [to_dict(result)["usage"] for result in results]
    assert [each[1].split("\n") for each in cells] == [
        [usage[0]["slm"]["model"], "small model, early"],
        [usage[1]["llm"]["model"], "large model"],
    ]
    assert [float(each[-1].removeprefix("$")) for each in cells] == [
        pytest.approx(amount, rel=0.01) for amount in (usd[0], sum(usd))
    ]
    read = [sum(role["input_tokens"] + role["cached_input_tokens"] for role in each.values()) for each in usage]
    cached = [sum(role["cached_input_tokens"] for role in each.values()) for each in usage]
    assert [(each[3], each[4]) for each in cells] == [
        (f"{tokens:,}", f"{100 * of / tokens:.0f}\u00a0%") for tokens, of in zip(read, cached, strict=True)
    ]
    assert await tab.serious_findings() == []
    assert await tab.overflow() == 0
    await rows.nth(1).get_by_role("link").click()
    await expect(tab.page.get_by_role("heading", level=1)).to_contain_text("Go on.")
