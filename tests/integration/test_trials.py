"""The small model tries, its answer is checked, and a pass ends the request; every token of a trial is billed once."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from tandem import RequestError
from tests.integration.asking import ask, events, generated, kinds
from tests.integration.conftest import CheckedSystems, System

pytestmark = pytest.mark.asyncio(loop_scope="session")
YES = "[slm=yes slm_eos=4 llm=no llm_eos=3]"
"""The small model says yes, and needs 4 tokens for it; the large one says no, with 3."""


async def checked(systems: CheckedSystems, question: str, *checks: str, profile: str = "scripted-checked") -> Any:
    return await ask(await systems(profile), question, checks=checks)


def counted(system: System) -> dict[str, tuple[int, int]]:
    return {
        "llm": (system.llm.counters.input_tokens, system.llm.counters.output_tokens),
        "slm": (system.slm.counters.input_tokens, system.slm.counters.output_tokens),
    }


async def test_a_pass_ends_the_request_before_the_large_model_is_asked(checked_systems: CheckedSystems) -> None:
    result = await checked(checked_systems, YES, "choice:yes")
    assert (result["answer"], result["stop"]["reason"], result["stop"]["stage"]) == ("yes", "verified", 0)
    assert [(c["name"], c["verdict"], c["role"], c["trial"]) for c in result["checks"]] == [
        ("choice", "pass", "slm", 1)
    ]
    assert generated(result["usage"]["llm"]) == 0
    assert result["usage"]["scorer"]["input_tokens"] == 0
    assert result["complete"]


async def test_a_fail_goes_on_to_the_large_model_whose_answer_is_checked_too(checked_systems: CheckedSystems) -> None:
    result = await checked(checked_systems, YES, "choice:no")
    assert (result["answer"], result["stop"]["reason"]) == ("no", "llm_finished")
    assert [(c["verdict"], c["role"]) for c in result["checks"]] == [("fail", "slm"), ("pass", "llm")]
    assert result["cost"]["saved_ratio"] < 0  # the trial was paid for in vain


async def test_where_both_fail_the_large_models_answer_is_used_and_the_result_says_so(
    checked_systems: CheckedSystems,
) -> None:
    result = await checked(checked_systems, YES, "choice:maybe")
    assert (result["answer"], result["stop"]["reason"]) == ("no", "unverified_best")
    assert [c["verdict"] for c in result["checks"]] == ["fail", "fail"]


async def test_where_both_fail_the_answer_of_which_more_holds_is_used(checked_systems: CheckedSystems) -> None:
    head = 'def f(x):\n    """{script}\n    >>> f(1)\n    1\n    >>> f(2)\n    5\n    """\n'
    script = "[slm=```python|def_f(x):|____return_x|``` slm_eos=37 llm=```python|def_f(x):|____return_0|``` llm_eos=37]"
    result = await ask(await checked_systems("scripted-checked"), head.format(script=script), code=True)
    assert [(c["role"], c["score"]) for c in result["checks"]] == [("slm", 0.5), ("llm", 0.0)]
    assert result["stop"]["reason"] == "unverified_best"
    assert "return x" in result["answer"]


async def test_examples_in_the_prompt_are_run(checked_systems: CheckedSystems) -> None:
    head = 'def f(x):\n    """{script}\n    >>> f(1)\n    2\n    """\n'
    script = "[slm=```python|def_f(x):|____return_x+1|``` slm_eos=39]"
    result = await ask(await checked_systems("scripted-checked"), head.format(script=script), code=True)
    assert result["stop"]["reason"] == "verified"
    assert [(c["name"], c["verdict"]) for c in result["checks"]] == [("python_examples", "pass")]
    assert result["checks"][0]["seconds"] > 0
    assert result["cost"]["check_seconds"] == result["checks"][0]["seconds"]


async def test_without_examples_no_trial_is_made(checked_systems: CheckedSystems) -> None:
    result = await ask(await checked_systems("scripted-checked"), f'def f(x):\n    """{YES}"""\n', code=True)
    assert (result["stop"]["reason"], result["checks"], result["trials"]) == ("llm_finished", [], [])


async def test_a_repair_reads_why_it_failed(checked_systems: CheckedSystems) -> None:
    question = "[slm=bad slm_eos=4 repaired=good llm=no llm_eos=3]"
    result = await checked(checked_systems, question, "choice:goo", profile="scripted-repairing")
    assert (result["answer"], result["stop"]["reason"]) == ("goo", "verified")
    assert [(t["number"], t["repair"], t["verdict"]) for t in result["trials"]] == [
        (1, False, "fail"),
        (2, True, "pass"),
    ]


@pytest.mark.parametrize("profile", ["scripted-checked", "scripted-repairing", "scripted-overlapped", "scripted-later"])
@pytest.mark.parametrize("wanted", ["yes", "no", "maybe"])
async def test_each_trial_is_a_line_of_the_bill_and_no_token_is_counted_twice(
    checked_systems: CheckedSystems, profile: str, wanted: str
) -> None:
    system = await checked_systems(profile)
    before = counted(system)
    result = await ask(system, "[slm=yes slm_eos=4 llm=no llm_eos=60 ms=2]", checks=[f"choice:{wanted}"])
    for role, (prompt, completion) in counted(system).items():
        usage = result["usage"][role]
        assert usage["input_tokens"] == prompt - before[role][0], role
        assert generated(usage) == completion - before[role][1], role
    trials = result["trials"]
    assert sum(t["usage"]["output_tokens"] for t in trials) <= result["usage"]["slm"]["output_tokens"]
    cost = result["cost"]
    assert cost["usd"] == pytest.approx(sum(cost["usd_by_role"].values()))
    assert cost["usd_by_role"]["slm"] >= sum(t["usd"] for t in trials)
    rates = {"llm": (100, 10), "slm": (400, 40)}
    tokens = sum(
        result["usage"][role]["input_tokens"] / read + generated(result["usage"][role]) / write
        for role, (read, write) in rates.items()
    )
    assert cost["seconds"] == pytest.approx(
        tokens + cost["check_seconds"] + result["usage"]["scorer"]["input_tokens"] / 400
    )


async def test_overlapped_a_pass_stops_the_large_model_that_runs(checked_systems: CheckedSystems) -> None:
    system = await checked_systems("scripted-overlapped")
    seen = await events(system, "[slm=yes slm_eos=4 llm_hold=8]", checks=["choice:yes"])
    result = seen[-1].result  # type: ignore[union-attr]
    assert result.answer == "yes"
    assert result.usage.llm.output_tokens + result.usage.llm.overrun_tokens == 8
    assert "llm_stopped" in kinds(seen)


async def test_overlapped_an_answer_of_the_large_model_that_passes_stops_the_trial(
    checked_systems: CheckedSystems,
) -> None:
    system = await checked_systems("scripted-overlapped")
    result = await ask(system, "[slm=yes slm_hold=2 llm=no llm_eos=3]", checks=["choice:no"])
    assert (result["answer"], result["stop"]["reason"]) == ("no", "llm_finished")
    trial = result["trials"][0]
    assert (trial["verdict"], trial["usage"]["output_tokens"] + trial["usage"]["overrun_tokens"]) == ("unknown", 2)


async def test_overlapped_the_large_model_writes_while_the_bare_question_is_scored(
    checked_systems: CheckedSystems,
) -> None:
    system = await checked_systems("scripted-overlapped")
    seen = kinds(await events(system, "[score_ms=400 llm=no llm_eos=3]"))
    assert seen.index("insight_delta") < seen.index("scored")


async def test_a_later_stage_is_tried_when_it_is_written(checked_systems: CheckedSystems) -> None:
    system = await checked_systems("scripted-later")
    seen = await events(system, "[slm=yes slm_eos=4 llm_hold=40]", checks=["choice:yes"])
    assert kinds(seen).index("stage_completed") < kinds(seen).index("checked")


async def test_two_trials_that_agree_pass(checked_systems: CheckedSystems) -> None:
    result = await checked(checked_systems, "[slm=yes slm_eos=4 llm_hold=40]", "agreement", profile="scripted-later")
    assert [(c["name"], c["verdict"], c["stage"]) for c in result["checks"]] == [
        ("agreement", "unknown", 1),
        ("agreement", "pass", 2),
    ]
    assert (result["stop"]["reason"], result["stop"]["stage"]) == ("verified", 2)


async def test_a_client_sees_the_try_the_check_and_the_verdict_in_order(checked_systems: CheckedSystems) -> None:
    seen = await events(await checked_systems("scripted-checked"), YES, checks=["choice:no"])
    order = kinds(seen)
    assert order.index("answer_delta") < order.index("checked") < order.index("insight_delta")
    assert [event.verdict for event in seen if event.kind == "checked"] == ["fail", "pass"]


async def test_a_cancel_during_a_trial_keeps_its_bill(checked_systems: CheckedSystems) -> None:
    system, request_id = await checked_systems("scripted-checked"), uuid4().hex
    following = asyncio.create_task(ask(system, "[slm=yes slm_hold=3]", checks=["choice:yes"], request_id=request_id))
    while not system.slm.running:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    await system.client.cancel(request_id)
    result = await following
    assert result["stop"]["reason"] == "cancelled"
    assert len(result["trials"]) == 1
    assert generated(result["usage"]["slm"]) == generated(result["trials"][0]["usage"])


async def test_without_a_checker_the_request_goes_on_and_says_so(system: System) -> None:
    result = await ask(system, "[llm_eos=20 scores=0:0.9]", checks=["choice:yes"])
    assert result["stop"]["reason"] == "sufficient"


@pytest.mark.parametrize(
    ("check", "words"),
    [
        ("nonsense", "python_examples"), ("regex:(", "regex"), ("choice", "nothing to compare"),
        ("agreement:1", "at least 2"), ("json_schema:{", "json_schema"),
    ],
)  # fmt: skip
async def test_a_check_that_cannot_be_made_is_refused_by_name(
    checked_systems: CheckedSystems, check: str, words: str
) -> None:
    with pytest.raises(RequestError, match=words) as caught:
        await checked(checked_systems, YES, check)
    assert caught.value.code.name == "INVALID_ARGUMENT"


async def test_a_budget_that_pays_for_no_trial_makes_none(checked_systems: CheckedSystems) -> None:
    system = await checked_systems("scripted-checked")
    result = await ask(system, YES, checks=["choice:yes"], max_cost_usd=0.0006)
    assert result["trials"] == []
    assert result["cost"]["usd"] <= 0.0006
