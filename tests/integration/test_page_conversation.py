"""The page holds a conversation: each question is sent with those before it, and what models write is shown as
Markdown.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.browser import Visit, needs_browser
from tests.integration.conftest import System
from tests.integration.tabs import asked_bodies, own_tab

pytestmark = pytest.mark.asyncio(loop_scope="session")
FIRST, SECOND = (
    "My name is Ada. [scores=0:0.9 slm=hello_ slm_eos=6]",
    "What is my name? [scores=0:0.9 slm=Ada_ slm_eos=4]",
)


@pytest_asyncio.fixture(loop_scope="session")
async def tab(system: System) -> AsyncIterator[Visit]:
    async with own_tab(system.client.address) as visiting:
        yield visiting


@needs_browser
async def test_a_chat_is_sent_with_what_was_said_before_and_survives_a_reload(tab: Visit) -> None:
    bodies = await asked_bodies(tab)
    await tab.open()
    await tab.ask(FIRST, "Chat")
    await tab.done()
    answer = tab.page.locator("section.answer .text")
    shown = (await answer.inner_text()).strip()
    await tab.ask(SECOND, "Chat")
    await tab.done()
    assert bodies[0]["question"] == FIRST
    assert [said["role"] for said in bodies[1]["messages"]] == ["user", "assistant", "user"]
    assert [said["content"] for said in bodies[1]["messages"]][::2] == [FIRST, SECOND]
    assert "question" not in bodies[1]
    await tab.page.reload()
    await tab.done()
    await expect(tab.page.locator(".turn .said")).to_have_text(FIRST)
    await expect(tab.page.locator(".turn .part-of").last).to_contain_text(shown.split("\n")[-1])
    await expect(tab.page.locator("main > .said")).to_have_text(SECOND)


@needs_browser
async def test_a_question_of_another_task_begins_anew(tab: Visit) -> None:
    bodies = await asked_bodies(tab)
    await tab.open()
    await tab.ask(FIRST, "Chat")
    await tab.done()
    await tab.ask(SECOND, "Answer")
    await tab.done()
    assert bodies[1] == {"question": SECOND, "task": "answer", "profile": ""}
    await expect(tab.page.locator(".turn")).to_have_count(0)


@needs_browser
async def test_enter_asks_and_shift_enter_breaks_the_line(tab: Visit) -> None:
    bodies = await asked_bodies(tab)
    await tab.open()
    field = tab.page.get_by_label("Question", exact=True)
    await field.press_sequentially("one")
    await field.press("Shift+Enter")
    await field.press_sequentially("two [scores=0:0.9 slm_eos=4]")
    assert bodies == []
    await field.press("Enter")
    await tab.done()
    assert [body["question"] for body in bodies] == ["one\ntwo [scores=0:0.9 slm_eos=4]"]
    await expect(field).to_have_value("")


@needs_browser
async def test_a_first_visit_is_told_what_this_is_and_has_four_examples(tab: Visit) -> None:
    await tab.open()
    examples = tab.page.get_by_role("region", name="What this is").get_by_role("button")
    await expect(examples).to_have_count(4)
    await examples.first.click()
    field = tab.page.get_by_label("Question", exact=True)
    await expect(field).to_be_focused()
    assert ">>> running_total([1, 2, 3])" in await field.input_value()
    await expect(tab.page.get_by_role("radio", name="Code")).to_be_checked()


@needs_browser
async def test_what_a_model_writes_is_markdown_and_html_in_it_is_text_that_never_runs(tab: Visit) -> None:
    written = "**b**_`c`_<img/src=x/onerror=alert(1)>_<script>f()</script>"
    await tab.open()
    await tab.ask(f"[scores=0:0.9 slm={written} slm_eos=60]")
    await tab.done()
    answer = tab.page.locator("section.answer .text")
    await expect(answer.locator("strong")).to_have_text("b")
    await expect(answer.locator("code")).to_have_text("c")
    await expect(answer).to_contain_text("<img/src=x/onerror=alert(1)> <script>f()</script>")
    await expect(answer.locator("img, script")).to_have_count(0)


@pytest.mark.parametrize("body", [{}, {"question": "a", "messages": [{"role": "user", "content": "b"}]}])
async def test_a_question_or_messages_are_needed(http: httpx.AsyncClient, body: dict[str, Any]) -> None:
    refused = await http.post("/api/requests", json=body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "question")


@needs_browser
async def test_the_drawer_sends_what_its_task_takes_and_only_what_is_set(tab: Visit) -> None:
    bodies = await asked_bodies(tab)
    await tab.open()
    await tab.page.get_by_text("More", exact=True).click()
    await tab.page.get_by_label("System prompt").fill("Be brief.")
    await tab.ask(FIRST, "Chat")
    await tab.done()
    assert [said["role"] for said in bodies[0]["messages"]] == ["system", "user"]
    assert set(bodies[0]) == {"messages", "task", "profile"}
    await tab.page.locator(".segments label:has-text('Answer')").click()
    await tab.page.get_by_label("Checks").fill("regex:[a-z]+\n")
    await tab.ask(SECOND, "Answer")
    await tab.done()
    assert bodies[1]["checks"] == ["regex:[a-z]+"]
    assert bodies[1]["question"] == SECOND


@needs_browser
async def test_the_text_of_files_joins_the_question_and_what_is_no_text_is_named(tab: Visit, tmp_path: Path) -> None:
    for name, content in {
        "f.py": b"def f():\n    return 1\n",
        "notes.md": "Über\n```sh\nls\n```\n".encode(),
        "a.bin": b"\x00\x01",
        "latin.txt": b"\xfcber",
    }.items():
        (tmp_path / name).write_bytes(content)
    await tab.open()
    field = tab.page.get_by_label("Question", exact=True)
    await field.fill("What does this do?")
    await tab.page.get_by_text("More", exact=True).click()
    files = tab.page.get_by_label("Text files")
    button = "(field) => getComputedStyle(field, '::file-selector-button').borderRadius"
    assert await files.evaluate(button) == "3px"  # as all buttons
    await files.set_input_files([tmp_path / "f.py", tmp_path / "notes.md"])
    fenced = (
        "What does this do?\n\nf.py:\n```\ndef f():\n    return 1\n```\n\nnotes.md:\n````\nÜber\n```sh\nls\n```\n````"
    )
    await expect(field).to_have_value(fenced)
    for name in ("a.bin", "latin.txt"):
        await files.set_input_files([tmp_path / name])
        await expect(tab.page.get_by_role("alert")).to_have_text(f"{name} is not a text in UTF-8, and was left out.")
    await expect(field).to_have_value(fenced)
    assert await tab.serious_findings() == []
