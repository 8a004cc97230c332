"""The page says which model wrote the answer, and what became of each stage."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.browser import Visit, needs_browser
from tests.integration.conftest import CheckedSystems, System
from tests.integration.tabs import own_tab
from tests.integration.test_search import found

pytestmark = [pytest.mark.asyncio(loop_scope="session"), needs_browser]
FIRST_BILL = """async () => {
  const [{ html, render }, { Running }, { start }] = await Promise.all(["html", "bill", "live"].map((name) => import(`/assets/${name}.js`)));
  const box = document.createElement("div");
  const profile = { prices: { llm: { output: 6 }, slm: { output: 2 } }, llm_alone_output_tokens: 100 };
  render(html`<${Running} state=${start("1")} profile=${profile} />`, box);
  return box.textContent;
}"""
ALONE = "[llm=word_ llm_eos=60 scores=0:0.1]"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tab(finishing_system: System) -> AsyncIterator[Visit]:
    async with own_tab(finishing_system.client.address) as visiting:
        yield visiting


async def notes(tab: Visit) -> list[str]:
    """What is said of each stage, the question alone first."""
    return [note.strip() for note in await tab.page.locator(".stages .stage-note").all_inner_texts()]


async def opened(tab: Visit, system: System, script: str, **options: Any) -> dict[str, Any]:
    """A request that has ended, opened from the list."""
    request_id = (await system.client.ask(script, **options)).request_id
    await tab.open(f"#/requests/{request_id}")
    await expect(tab.page.locator(".bill")).to_contain_text(request_id)
    return {"notes": await notes(tab), "used": await tab.page.locator(".stages .used").count()}


async def test_the_large_models_own_answer_names_the_large_model_and_its_tokens(tab: Visit) -> None:
    await tab.open()
    await tab.ask(ALONE)
    await tab.done()
    pane = tab.page.locator("section.answer")
    await expect(pane.locator(".text")).to_contain_text("word word")
    await expect(pane.locator(".model > span")).to_have_text("scripted-llm")
    await expect(pane.locator(".figure")).to_have_text("60 tokens")
    await expect(tab.page.locator(".stages .used")).to_have_count(0)


async def test_an_opened_request_names_the_model_that_answered(tab: Visit, finishing_system: System) -> None:
    model = tab.page.locator("section.answer .model > span")
    await opened(tab, finishing_system, ALONE)
    await expect(model).to_have_text("scripted-llm")
    await opened(tab, finishing_system, "[scores=16:0.9 slm_eos=9]")
    await expect(model).to_have_text("scripted-slm")


async def test_no_stage_is_used_where_the_large_model_answered_and_unscored_ones_are_not_unneeded(
    tab: Visit, finishing_system: System
) -> None:
    every = await opened(tab, finishing_system, ALONE, thresholds={0: 0.9, 1: 1, 2: 1, 3: 1})
    assert every == {"notes": ["goes on", "not scored", "not scored", "not scored"], "used": 0}
    early = await opened(tab, finishing_system, "[llm=word_ llm_eos=20]", thresholds={0: 0.9, 1: 1, 2: 1, 3: 1})
    assert early == {"notes": ["goes on", "not scored", "not reached", "not reached"], "used": 0}


async def test_a_stage_that_sufficed_is_the_used_one_and_later_ones_are_not_needed(
    tab: Visit, finishing_system: System
) -> None:
    shown = await opened(tab, finishing_system, "[scores=16:0.9 slm_eos=9]")
    assert shown == {"notes": ["goes on", "16 tokens, suffices", "not needed", "not needed"], "used": 1}


async def test_a_budget_reaches_no_later_stage_and_the_best_one_is_used(tab: Visit, finishing_system: System) -> None:
    shown = await opened(tab, finishing_system, "[scores=0:0.1,16:0.6,32:0.2 slm_eos=9]", max_llm_tokens=32)
    assert shown == {"notes": ["goes on", "16 tokens, used", "32 tokens, goes on", "not reached"], "used": 1}


async def test_a_stage_that_is_used_without_a_score_says_so(tab: Visit, finishing_system: System) -> None:
    shown = await opened(tab, finishing_system, "[fail=score slm_eos=5]", max_stage=1)
    assert shown == {"notes": ["not scored", "16 tokens, used, not scored", "not reached", "not reached"], "used": 1}


async def test_a_request_that_was_stopped_has_used_no_stage(tab: Visit) -> None:
    await tab.open()
    await tab.ask("[llm_hold=20 scores=0:0.1]")
    await expect(tab.page.locator(".insight .figure")).to_have_text("20 tokens")
    await tab.page.get_by_role("button", name="Stop").click()
    await tab.done()
    await expect(tab.page.locator(".stages .used")).to_have_count(0)
    assert (await notes(tab))[2:] == ["not reached", "not reached"]


async def test_the_bill_is_no_estimate_where_a_trial_replaced_the_large_models_answer(
    checked_systems: CheckedSystems,
) -> None:
    system = await checked_systems("scripted-checked")
    async with own_tab(system.client.address) as tab:
        await opened(tab, system, "[slm=yes slm_eos=4 llm=no llm_eos=3]", checks=["choice:maybe"])
        await expect(tab.page.locator(".running")).to_contain_text("Large model alone")
        await expect(tab.page.locator(".running")).not_to_contain_text("estimate")
        for view in ("requests", "savings"):
            await tab.open(f"#/{view}?since=")
            await expect(tab.page.locator("main table").first).to_be_visible()
            await expect(tab.page.locator("main")).not_to_contain_text("≈")


async def test_savings_leave_out_what_a_limit_cut_off_and_say_how_many(tab: Visit, finishing_system: System) -> None:
    tenant = uuid4().hex[:12]
    await finishing_system.client.ask(ALONE, tenant=tenant, threshold=1)
    await finishing_system.client.ask("[slm_eos=999 scores=0:0.9]", tenant=tenant, max_answer_tokens=10)
    await found(finishing_system, f"tenant = {tenant} and state = completed", 2)
    await tab.open(f"#/savings?since=&tenant={tenant}")
    figures = tab.page.locator(".figures").first
    await expect(figures.locator("> div:nth-child(4) dd")).to_have_text("1")
    await expect(figures.locator(".lead")).to_have_text("0 %")
    await expect(tab.page.locator("p.note", has_text="Not counted")).to_contain_text("1 cut off at a limit")
    await tab.open(f"#/requests?tenant={tenant}")
    await expect(tab.page.locator("table.requests tbody tr")).to_have_count(2)
    await expect(tab.page.locator("table.requests tbody tr td[data-head=Saved]")).to_have_text(["–", "0 %"])


async def test_savings_are_called_an_estimate_only_where_one_is_among_them(
    tab: Visit, finishing_system: System
) -> None:
    tenant = uuid4().hex[:12]
    for number, (question, mark) in enumerate([(ALONE, ""), ("[scores=16:0.9 slm_eos=9]", ", estimated")], 1):
        await finishing_system.client.ask(question, tenant=tenant)
        await found(finishing_system, f"tenant = {tenant} and state = completed", number)
        await tab.open("#/ask")
        await tab.open(f"#/savings?since=&tenant={tenant}")
        labels = ["Saved" + mark, "Cost", "Large model alone" + mark, "Requests"]
        await expect(tab.page.locator(".figures").first.locator("dt")).to_have_text(labels)
        assert ("is an estimate" in await tab.page.locator("main").inner_text()) == bool(mark)
        await tab.open(f"#/requests?tenant={tenant}")
        await expect(tab.page.locator("table.requests tbody tr")).to_have_count(number)
        assert ("is an estimate" in await tab.page.locator("main").inner_text()) == bool(mark)


async def test_a_chat_that_the_large_model_answers_shows_no_empty_scale_and_no_text_twice(
    tab: Visit, finishing_system: System
) -> None:
    await tab.open()
    request_id = await tab.ask("[llm=word_ llm_eos=40]", "Chat")
    await tab.done()
    for _ in ("as it happened", "opened"):
        await expect(tab.page.locator("section.answer .text")).to_contain_text("word word")
        await expect(tab.page.locator(".stages, .insight")).to_have_count(0)
        await tab.open(f"#/requests/{request_id}")
        await tab.done()


async def test_a_bill_without_a_token_is_no_zero(tab: Visit) -> None:
    """Both models may be at work: what they read is billed, and known at the end alone."""
    await tab.open()
    bill = await tab.page.evaluate(FIRST_BILL)
    assert "Generated so far–" in bill
    assert "Nothing that the models write has come yet." in bill


async def test_the_end_is_told_in_words_for_people(tab: Visit, finishing_system: System) -> None:
    await opened(tab, finishing_system, ALONE)
    await expect(tab.page.locator(".ending")).to_contain_text("The large model answered by itself.")
    await expect(tab.page.locator("main")).not_to_contain_text("llm finished")


async def test_an_estimate_is_called_one_and_an_exact_figure_is_not(tab: Visit, finishing_system: System) -> None:
    running = tab.page.locator(".running")
    await opened(tab, finishing_system, "[scores=16:0.9 slm_eos=9]")
    await expect(running.locator("dt")).to_have_text(
        ["This request", "Large model alone, estimated", "Saved, estimated"]
    )
    await opened(tab, finishing_system, ALONE)
    await expect(running.locator("dt")).to_have_text(["This request", "Large model alone", "Saved"])
