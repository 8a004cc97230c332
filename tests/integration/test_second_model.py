"""A second small model tries where the first one's answer does not pass; programs of both may have to agree; each has a
bill of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from tandem import AnswerDelta, RequestError, to_dict
from tests.integration.asking import BOUND_SECONDS, ask, generated, idle
from tests.integration.conftest import SPANS, CheckedSystems, System, run_system

pytestmark = pytest.mark.asyncio(loop_scope="session")
SECOND, AGREEING = "scripted-second", "scripted-agreeing"
THREE = "[slm=bad slm_eos=4 second=good second_eos=5 llm=none llm_eos=5]"
"""The small model says bad, the second one good, the large one none."""
ROLES = "llm", "slm", "second_slm"


def counted(system: System) -> dict[str, tuple[int, int]]:
    engines = {"llm": system.llm, "slm": system.slm, "second_slm": system.second}
    return {role: (each.counters.input_tokens, each.counters.output_tokens) for role, each in engines.items()}


def billed(usage: dict[str, Any]) -> dict[str, tuple[int, int]]:
    return {role: (usage[role]["input_tokens"], generated(usage[role])) for role in ROLES}


def since(before: dict[str, tuple[int, int]], system: System) -> dict[str, tuple[int, int]]:
    now = counted(system)
    return {role: (now[role][0] - before[role][0], now[role][1] - before[role][1]) for role in ROLES}


def program(text: str) -> str:
    return f"```python|{text.replace(' ', '_')}|```"


def function(slm: str, second: str, llm: str = "def f(x):|    return 0") -> str:
    """A task whose example every program passes that gives 2 for 1."""
    written = {"slm": program(slm), "second": program(second), "llm": program(llm)}
    script = " ".join(f"{role}={text} {role}_eos={len(text) + 1}" for role, text in written.items())
    return f'def f(x):\n    """[{script}]\n    >>> f(1)\n    2\n    """\n'


ADDS, ADDS_TOO = "def f(x):|    return x + 1", "def f(y):|    return 1 + y"
DOUBLES, WRONG = "def f(x):|    return x * 2", "def f(x):|    return 7"


async def test_a_second_small_model_tries_where_the_first_ones_answer_fails(checked_systems: CheckedSystems) -> None:
    result = await ask(await checked_systems(SECOND), THREE, checks=["choice:good"])
    assert (result["answer"], result["stop"]["reason"], result["answered_by"]) == ("good", "verified", "second_slm")
    assert [(t["number"], t["role"], t["verdict"], t["usage"]["model"]) for t in result["trials"]] == [
        (1, "slm", "fail", "scripted-slm"),
        (2, "second_slm", "pass", "scripted-second"),
    ]
    assert [(c["role"], c["verdict"], c["trial"]) for c in result["checks"]] == [
        ("slm", "fail", 1),
        ("second_slm", "pass", 2),
    ]
    assert generated(result["usage"]["llm"]) == 0
    assert result["second_slm"] == "scripted-second"


async def test_a_third_small_model_is_configuration_alone(checked_systems: CheckedSystems) -> None:
    system = await checked_systems("scripted-third")
    script = "[slm=bad slm_eos=4 second=poor second_eos=5 third=good third_eos=5 llm=none llm_eos=5]"
    result = await ask(system, script, checks=["choice:good"])
    assert (result["answer"], result["answered_by"]) == ("good", "third_slm")
    assert [trial["role"] for trial in result["trials"]] == ["slm", "second_slm", "third_slm"]
    used, third = result["usage"]["third_slm"], system.further["third_slm"].counters
    assert (used["model"], used["input_tokens"]) == ("scripted-third", third.input_tokens)
    by_role = result["cost"]["usd_by_role"]
    assert by_role["third_slm"] == pytest.approx((3 * used["input_tokens"] + 5 * generated(used)) / 1e6)
    assert result["cost"]["usd"] == pytest.approx(sum(by_role.values()))


async def test_it_is_not_asked_where_the_first_ones_answer_passes(checked_systems: CheckedSystems) -> None:
    system = await checked_systems(SECOND)
    before = counted(system)
    result = await ask(system, THREE, checks=["choice:bad"])
    assert (result["answer"], result["answered_by"], len(result["trials"])) == ("bad", "slm", 1)
    assert since(before, system)["second_slm"] == (0, 0)
    assert result["cost"]["usd_by_role"]["second_slm"] == 0


async def test_where_both_fail_the_large_model_answers(checked_systems: CheckedSystems) -> None:
    result = await ask(await checked_systems(SECOND), THREE, checks=["choice:none"])
    assert (result["answer"], result["stop"]["reason"], result["answered_by"]) == ("none", "llm_finished", "llm")
    assert [t["role"] for t in result["trials"]] == ["slm", "second_slm"]


@pytest.mark.parametrize("wanted", ["bad", "good", "none", "other"])
async def test_each_model_is_billed_at_its_own_price_and_every_token_once(
    checked_systems: CheckedSystems, wanted: str
) -> None:
    system = await checked_systems(SECOND)
    before = counted(system)
    result = await ask(system, THREE, checks=[f"choice:{wanted}"])
    cost, usage = result["cost"], result["usage"]
    assert billed(usage) == since(before, system)
    prices = {"llm": (3, 6), "slm": (1, 2), "second_slm": (2, 4)}
    for role, (prompt, written) in billed(usage).items():
        usd = (prompt * prices[role][0] + written * prices[role][1]) / 1e6
        assert cost["usd_by_role"][role] == pytest.approx(usd), role
    assert cost["usd"] == pytest.approx(sum(cost["usd_by_role"].values()))
    parameters = {"llm": 3e9, "slm": 1e9, "second_slm": 2e9}
    full = sum(parameters[role] * sum(tokens) for role, tokens in billed(usage).items())
    assert cost["tflops_full"] == pytest.approx(2 * full / 1e12)
    paper = sum(parameters[role] * usage[role]["output_tokens"] for role in ROLES)
    assert cost["tflops_paper"] == pytest.approx(2 * paper / 1e12)
    rates = {"llm": (100, 10), "slm": (400, 40), "second_slm": (200, 20)}
    seconds = sum(p / rates[role][0] + w / rates[role][1] for role, (p, w) in billed(usage).items())
    assert cost["seconds"] == pytest.approx(seconds + cost["check_seconds"])


async def test_the_trace_has_the_second_models_tokens_on_a_span_of_its_role(checked_systems: CheckedSystems) -> None:
    result = await ask(await checked_systems(SECOND), THREE, checks=["choice:good"])
    found = [
        s.attributes or {}
        for s in SPANS.get_finished_spans()
        if format(s.context.trace_id, "032x") == result["trace_id"]
    ]
    chats = [each for each in found if each.get("tandem.role") == "second_slm"]
    assert [each["gen_ai.usage.output_tokens"] for each in chats] == [generated(result["usage"]["second_slm"])]
    assert [each["gen_ai.request.model"] for each in chats] == ["scripted-second"]
    amounts = [each["gen_ai.usage.cost.amount"] for each in chats]
    assert amounts == [pytest.approx(result["cost"]["usd_by_role"]["second_slm"])]


async def test_a_second_model_that_fails_costs_what_its_attempts_took_and_the_large_one_answers(
    checked_systems: CheckedSystems,
) -> None:
    system = await checked_systems(SECOND)
    before = counted(system)
    result = await ask(system, THREE.replace("]", " fail=second]"), checks=["choice:none"])
    assert result["answered_by"] == "llm"
    assert any("second small model" in note for note in result["notes"])
    assert billed(result["usage"]) == since(before, system)
    assert generated(result["trials"][0]["usage"]) == 4
    assert generated(result["trials"][1]["usage"]) == 0


async def test_where_the_first_model_fails_the_second_one_still_tries(checked_systems: CheckedSystems) -> None:
    result = await ask(await checked_systems(SECOND), THREE.replace("]", " fail=slm]"), checks=["choice:good"])
    assert (result["answer"], result["answered_by"]) == ("good", "second_slm")


async def test_a_cancel_stops_the_second_models_trial_and_bills_it_exactly(checked_systems: CheckedSystems) -> None:
    system, request_id = await checked_systems(SECOND), uuid4().hex
    before = counted(system)
    with suppress(RequestError):
        async with aclosing(
            system.client.solve(
                THREE.replace("]", " second_hold=3]"), request_id=request_id, checks=["choice:good"], keep_running=True
            )
        ) as events:
            seen = 0
            async for event in events:
                seen += isinstance(event, AnswerDelta)
                if seen and system.second.running:
                    await system.client.cancel(request_id)
                    break
    async with asyncio.timeout(BOUND_SECONDS):
        while not (found := await system.client.get(request_id)).HasField("result"):
            await asyncio.sleep(0.02)
    await idle(system)
    result = to_dict(found.result)
    assert result["stop"]["reason"] == "cancelled"
    assert generated(result["usage"]["second_slm"]) > 0
    assert billed(result["usage"]) == since(before, system)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def without_second(
    redis_url: str, temporal_address: str, profiles_folder: Path, checker_address: str
) -> AsyncIterator[System]:
    """The second model's process cannot be reached."""
    running = run_system(
        SECOND, profiles_folder, redis_url, temporal_address, checker_address, alias="away", second_is_away=True
    )
    async with running as system:
        yield system


async def test_a_second_model_that_is_away_costs_nothing_and_the_first_ones_trial_is_billed_once(
    without_second: System,
) -> None:
    before = counted(without_second)
    result = await ask(without_second, THREE, checks=["choice:none"])
    assert result["answered_by"] == "llm"
    assert billed(result["usage"]) == since(before, without_second)
    assert result["usage"]["second_slm"]["discarded_tokens"] == 0


async def test_a_trial_is_accepted_where_programs_of_both_small_models_agree(checked_systems: CheckedSystems) -> None:
    result = await ask(await checked_systems(AGREEING), function(ADDS, ADDS_TOO), code=True)
    assert (result["stop"]["reason"], result["answered_by"]) == ("verified", "second_slm")
    assert [(t["role"], t["verdict"]) for t in result["trials"]] == [("slm", "unknown"), ("second_slm", "pass")]
    assert [(c["name"], c["role"], c["verdict"]) for c in result["checks"]] == [
        ("python_examples", "slm", "pass"),
        ("python_examples", "second_slm", "pass"),
        ("python_agreement", "second_slm", "pass"),
    ]
    assert generated(result["usage"]["llm"]) == 0


async def test_programs_that_pass_the_examples_and_differ_are_not_accepted(checked_systems: CheckedSystems) -> None:
    result = await ask(await checked_systems(AGREEING), function(ADDS, DOUBLES, ADDS), code=True)
    assert (result["stop"]["reason"], result["answered_by"]) == ("llm_finished", "llm")
    assert [t["verdict"] for t in result["trials"]] == ["unknown", "fail"]
    assert [(c["name"], c["role"]) for c in result["checks"]][-1] == ("python_examples", "llm")


async def test_the_second_model_is_not_asked_where_there_is_no_program_to_agree_with(
    checked_systems: CheckedSystems,
) -> None:
    result = await ask(await checked_systems(AGREEING), function(WRONG, ADDS, ADDS), code=True)
    assert [(t["role"], t["verdict"]) for t in result["trials"]] == [("slm", "fail")]
    assert result["answered_by"] == "llm"


async def test_a_request_may_ask_that_both_small_models_agree(checked_systems: CheckedSystems) -> None:
    system = await checked_systems(SECOND)
    result = await ask(system, function(ADDS, ADDS_TOO), code=True, checks=["python_agreement:# inputs=20 least=5"])
    assert [c["verdict"] for c in result["checks"] if c["name"] == "python_agreement"] == ["pass"]
    assert result["answered_by"] == "second_slm"


async def test_agreement_without_a_program_is_refused_where_there_is_one_small_model(
    checked_systems: CheckedSystems,
) -> None:
    with pytest.raises(RequestError, match="second small model"):
        await ask(
            await checked_systems("scripted-checked"), function(ADDS, ADDS), code=True, checks=["python_agreement"]
        )
