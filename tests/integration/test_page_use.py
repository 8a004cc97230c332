"""What one does with answers on the page: say whether one was right, see what that says of each policy, ask the same
from a program, and label disputes of two small models and the large one.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tandem import to_dict
from tests.browser import Visit, needs_browser
from tests.command import tandem
from tests.integration.conftest import System
from tests.integration.tabs import own_tab

pytestmark = [pytest.mark.asyncio(loop_scope="session"), needs_browser]


@pytest_asyncio.fixture(loop_scope="session")
async def tab(system: System) -> AsyncIterator[Visit]:
    async with own_tab(system.client.address) as visiting:
        yield visiting


async def test_an_opened_request_takes_a_word_on_its_answer_once(tab: Visit, system: System) -> None:
    result = await system.client.ask("[scores=16:0.9 slm_eos=9]")
    await tab.open(f"#/requests/{result.request_id}")
    await tab.page.get_by_role("button", name="Right", exact=True).click()
    await expect(tab.page.get_by_text("Noted: right.")).to_be_visible()
    await tab.page.reload()
    await tab.page.get_by_role("button", name="Wrong", exact=True).click()
    await expect(tab.page.get_by_role("alert")).to_contain_text("another outcome of this request was reported")
    assert await tab.serious_findings() == []


async def test_what_is_said_of_answers_is_counted_among_the_outcomes(tab: Visit, system: System) -> None:
    tenant = uuid4().hex[:12]
    asked = await system.client.ask("[scores=16:0.9 slm_eos=5]", tenant=tenant)
    await tab.open(f"#/savings?tenant={tenant}")
    await expect(tab.page.locator(".empty").last).to_contain_text("Nobody has said yet")
    await system.client.report(asked.request_id, True)
    await tab.page.reload()
    row = tab.page.get_by_role("table", name="Outcomes by policy").locator("tbody tr")
    await expect(row).to_contain_text("no promise")
    await expect(row.get_by_role("cell").nth(2)).to_have_text("1")


HARD = """[slm_eos=3] it's "so" $HOME `id` \\n é"""
SPLIT = 'curl() { for word in "$@"; do printf "%s\\0" "$word"; done; }\n'


async def test_an_opened_request_is_asked_again_by_the_commands_that_it_gives(tab: Visit, system: System) -> None:
    result = await system.client.ask(HARD)
    await tab.open(f"#/requests/{result.request_id}")
    await tab.done()
    of = """async ([name, result]) => (await import("/assets/request.js"))[name](result)"""
    shell, program = [await tab.page.evaluate(of, [name, to_dict(result)]) for name in ("asCurl", "asPython")]
    *_, body, _ = (await _run("sh", "-c", SPLIT + shell)).split("\0")
    assert json.loads(body)["messages"] == [{"role": "user", "content": HARD}]
    assert json.loads(await _run("sh", "-c", shell))["choices"][0]["message"]["content"]
    assert await _run(sys.executable, "-c", program)


async def test_the_command_that_the_page_gives_keeps_its_labels_of_disputes(tab: Visit, tmp_path: Path) -> None:
    """Nothing of the file is sent: `own_tab` sees what the page asks."""
    pytest.importorskip("math_verify")
    from tests.unit.test_disputes import line

    answers, shown = tmp_path / "it's mine.jsonl", tmp_path / "disputes.json"
    answers.write_text("".join(json.dumps(line(n, n, n, -n)) + "\n" for n in (1, 2, 3)))
    shown.write_text((await asyncio.to_thread(tandem, "disputes", str(answers), "--json")).stdout)
    first = json.loads(shown.read_text())["disputes"][0]
    await tab.open("#/savings")
    await tab.page.get_by_text("Label disputes").click()
    await tab.page.get_by_label("File of disputes").set_input_files(str(shown))
    dispute = tab.page.get_by_role("region", name=f"Dispute {first['id']}")
    for said in (first["question"], first["left"], first["right"]):
        await expect(dispute.get_by_text(said, exact=True)).to_be_visible()
    assert (await tab.serious_findings(), await tab.overflow()) == ([], 0)
    await dispute.get_by_role("button", name="Left").click()
    await tab.page.get_by_role("button", name="Neither").click()
    await expect(tab.page.get_by_role("status")).to_have_text("2 of 3 have a label.")
    name, *words = shlex.split(await tab.page.locator("pre").inner_text())
    assert (name, (await asyncio.to_thread(tandem, *words)).returncode) == ("tandem", 0)
    told = await asyncio.to_thread(tandem, "disputes", str(answers), "--json")
    kept = json.loads(told.stdout)["disputes"]
    assert [each["label"] for each in kept] == ["left", "neither", None]
    await tab.page.get_by_label("File of disputes").set_input_files(str(answers))
    await expect(tab.page.get_by_role("alert")).to_contain_text("no file of disputes")


async def _run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()
