"""Tools on the page: they are offered, their calls are shown, and the user gives what came of each call."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import expect

from tandem.client.tools import calls_as_data
from tests.browser import Visit, needs_browser
from tests.integration.conftest import System, run_system
from tests.integration.tabs import asked_bodies, own_tab
from tests.integration.test_http_tools import BOTH, ONE, SUN, TOOLS
from tests.integration.test_tools import WEATHER, script

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def checking(
    redis_url: str, temporal_address: str, profiles_folder: Path, checker_address: str
) -> AsyncIterator[System]:
    """The scripted system, with a checker."""
    running = run_system("scripted", profiles_folder, redis_url, temporal_address, checker_address, alias="page-calls")
    async with running as system:
        yield system


@pytest_asyncio.fixture(loop_scope="session")
async def tab(checking: System) -> AsyncIterator[Visit]:
    async with own_tab(checking.client.address) as visiting:
        yield visiting


async def offer(tab: Visit, tools: str = json.dumps(TOOLS)) -> None:
    await tab.open()
    await tab.page.get_by_text("More", exact=True).click()
    await tab.page.get_by_label("Tools", exact=True).fill(tools)


@needs_browser
async def test_a_whole_turn_with_a_tool_works_by_hand(tab: Visit) -> None:
    bodies = await asked_bodies(tab)
    await offer(tab)
    await tab.ask(ONE, "Chat")
    await tab.done()
    answer = tab.page.locator("section.answer")
    await expect(answer.locator(".block code")).to_have_text('w({"at": "Paris"})')
    result = tab.page.get_by_label('Result of w({"at": "Paris"})')
    await result.fill(SUN)
    assert await tab.serious_findings() == []
    before = tab.page.url
    await tab.page.get_by_role("button", name="Go on").click()
    await expect(tab.page).not_to_have_url(before)
    await tab.done()
    await expect(answer.locator(".text")).to_contain_text("Sun.")
    first, second = bodies
    assert [said["role"] for said in second["messages"]] == ["user", "assistant", "tool"]
    [call] = second["messages"][1]["tool_calls"]
    assert second["messages"][2] == {"role": "tool", "tool_call_id": call["id"], "content": SUN}
    assert first["tools"] == second["tools"] == TOOLS
    await tab.page.reload()
    await tab.done()
    await expect(tab.page.locator(".turn .block code")).to_have_text('w({"at": "Paris"})')
    await expect(tab.page.locator("main > .tool figcaption")).to_have_text('Result of w({"at": "Paris"})')
    await expect(tab.page.get_by_label("Question", exact=True)).to_be_visible()


@needs_browser
async def test_every_call_of_an_answer_has_a_result_of_its_own(tab: Visit) -> None:
    bodies = await asked_bodies(tab)
    await offer(tab)
    await tab.ask(BOTH, "Chat")
    await tab.done()
    await expect(tab.page.locator("section.answer .text")).to_contain_text("Hm.")
    await expect(tab.page.locator("section.answer .text")).not_to_contain_text("<call>")
    for city in ("Paris", "Rome"):
        await tab.page.get_by_label(f'Result of w({{"at": "{city}"}})').fill(f"{city}: rain {SUN}")
    await tab.page.get_by_role("button", name="Go on").click()
    await expect(tab.page.locator("main > .tool")).to_have_count(2)
    await tab.done()
    assert [said["content"][:5] for said in bodies[1]["messages"][2:]] == ["Paris", "Rome:"]


@needs_browser
async def test_an_opened_request_says_that_it_answers_a_tools_result(tab: Visit, checking: System) -> None:
    said: list[dict[str, Any]] = script()
    first = await checking.client.ask(said, tools=[WEATHER])
    calls = calls_as_data(first.tool_calls)
    said += [
        {"role": "assistant", "content": "", "tool_calls": calls},
        {"role": "tool", "tool_call_id": calls[0]["id"], "content": f"rain {SUN}"},
    ]
    second = await checking.client.ask(said, tools=[WEATHER])
    assert [call.name for call in second.answered_calls] == ["w"]
    await tab.open(f"#/requests/{second.request_id}")
    await tab.done()
    await expect(tab.page.get_by_role("heading", level=1)).to_have_text("Result of a tool")
    await expect(tab.page.locator(".tool figcaption")).to_have_text('Result of w({"at": "Rome"})')
    await expect(tab.page.locator(".tool pre")).to_have_text(f"rain {SUN}")
    await expect(tab.page.get_by_role("button", name="curl")).to_have_count(0)  # it would offer no tools
    assert await tab.serious_findings() == []


@needs_browser
async def test_tools_that_are_no_json_are_not_sent(tab: Visit) -> None:
    bodies = await asked_bodies(tab)
    await offer(tab, tools="[{")
    await expect(tab.page.locator(".drawer .problem")).to_contain_text("The tools are no JSON")
    await tab.page.get_by_label("Question", exact=True).fill("Sun?")
    await tab.page.get_by_role("button", name="Ask", exact=True).click()
    await expect(tab.page.get_by_role("alert")).to_contain_text("The tools are no JSON")
    assert bodies == []


@needs_browser
async def test_an_example_offers_a_tool_and_another_one_takes_it_away(tab: Visit) -> None:
    await tab.open()
    examples = tab.page.get_by_role("region", name="What this is")
    await examples.get_by_role("button", name="A tool call").click()
    await tab.page.get_by_text("More (1 set)").click()
    await expect(tab.page.get_by_label("Threshold")).to_have_value("")  # nothing says which one would keep a promise
    [tool] = json.loads(await tab.page.get_by_label("Tools", exact=True).input_value())
    assert tool["function"]["name"] == "weather"
    await examples.get_by_role("button", name="A chat").click()
    await expect(tab.page.get_by_label("Tools", exact=True)).to_have_value("")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"question": "q", "task": "answer", "tools": TOOLS}, "tandem.task"),
        ({"question": "q", "task": "chat", "tools": [{"type": "function"}]}, "tools[0].function"),
        ({"messages": [{"role": "tool", "content": "rain"}], "task": "chat"}, "messages[0]"),
        ({"messages": [{"role": "fool", "content": "rain"}], "task": "chat"}, "messages[0].role"),
    ],
)
async def test_tools_that_cannot_be_offered_are_refused_by_name(
    http: httpx.AsyncClient, body: dict[str, Any], param: str
) -> None:
    refused = await http.post("/api/requests", json=body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)
