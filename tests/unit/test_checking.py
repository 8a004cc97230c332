"""Verdicts and repairs of collected programs, with the sandbox that serves."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("math_verify")

from lab.training import grading
from lab.training.checking import (
    answer_checker,
    check_runs,
    checker_version,
    code_checks,
    repair,
    unrepaired,
    without_verdicts,
)
from lab.training.collect import Run
from lab.training.collected import load_collected
from lab.training.datasets import Item
from lab.training.errors import StoreError
from lab.training.grading import code_of, program
from lab.training.store import read, write
from services.answer_checker.checker import ALLOW_WEAK
from services.answer_checker.sandbox.layers import LANDLOCK, NAMESPACES
from services.answer_checker.sandbox.processes import Sandbox
from tandem.method.errors import FailedPrecondition
from tandem.method.evidence.checks import Verdict
from tandem.method.profile.profile import Profile, load_profile
from tests.fakes import ScriptedEngine
from tests.unit.synthetic import store, synthetic_runs

PROMPT = 'def double(x):\n    """Twice x.\n\n    >>> double(3)\n    6\n    """\n'
TEST = "def check(f):\n    assert f(5) == 10\n"
ITEM = Item("double", PROMPT, TEST, "code", "double")
TEXT = Item("sum", "What is 1 + 1?", "2")
ITEMS = {item.id: item for item in (ITEM, TEXT)}


@pytest.fixture
def weak_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose kernel has seccomp alone."""
    start = Sandbox.start
    monkeypatch.setattr(Sandbox, "start", lambda modules, without: start(modules, (NAMESPACES, LANDLOCK)))
    monkeypatch.setattr(grading, "_started", None)
    monkeypatch.delenv(ALLOW_WEAK, raising=False)


async def _opened() -> tuple[str, ...]:
    async with answer_checker(1) as checker:
        return checker.isolation


@pytest.mark.usefixtures("weak_machine")
def test_on_a_weak_machine_collecting_and_grading_run_no_program_unless_that_is_allowed_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(FailedPrecondition, match=ALLOW_WEAK):
        asyncio.run(_opened())
    with pytest.raises(FailedPrecondition, match=ALLOW_WEAK):
        grading.passes("x = 1", "assert x == 1")
    monkeypatch.setenv(ALLOW_WEAK, "true")
    assert asyncio.run(_opened()) == ("seccomp", "rlimits")


def fenced(body: str) -> str:
    return f"```python\ndef double(x):\n    {body}\n```"


def run(name: str, text: str, stage: int = 0, item: Item = ITEM, insight: str = "") -> Run:
    return Run(
        item.id, "", name, stage, 20, 0, 9, False, text, program(item, text, insight), False, asked=item.question
    )


@pytest.fixture(scope="module")
def profile(request: pytest.FixtureRequest) -> Profile:
    loaded = load_profile("scripted", (request.getfixturevalue("profiles_folder"),))
    prompts = loaded.prompts.model_copy(update={"repair": "wrong: {failure}"})
    return loaded.model_copy(update={"prompts": prompts})


def test_programs_get_the_verdict_of_their_examples_and_texts_get_none(profile: Profile) -> None:
    runs = [
        run("llm", fenced("return 2 * x")),
        run("slm", fenced("return x")),
        run("slm", " 2 * x\n```", 1, insight="```python\ndef double(x):\n    return"),
        run("forced", fenced("return x")),
        replace(run("slm", "2"), question=TEXT.id),
    ]
    found = asyncio.run(check_runs(runs, ITEMS, profile, 2))
    assert [each.verdict for each in found] == ["pass", "fail", "pass", "", ""]
    assert [each.score for each in found] == [1, 0, 1, 0, 0]
    assert "double(3)" in found[1].failure
    assert all(each.check_seconds > 0 for each in found[:3])
    told = replace(found[1], verdict="pass")
    assert asyncio.run(check_runs([told], ITEMS, profile, 1)) == [told]  # a verdict is kept


def test_a_graded_program_gives_back_what_the_model_wrote() -> None:
    assert code_of(ITEM, program(ITEM, fenced("return 2 * x"))) == "def double(x):\n    return 2 * x\n"


def test_only_a_first_answer_that_failed_is_repaired_once(profile: Profile) -> None:
    failed = replace(run("slm", fenced("return x")), verdict="fail", failure="double(3) gives 3, not 6")
    runs = [failed, replace(run("slm", "", 1), verdict="fail"), replace(run("llm", ""), verdict="fail")]
    assert unrepaired(runs) == [failed]
    engine = ScriptedEngine("scripted-slm")

    repaired = asyncio.run(repair(failed, ITEMS, profile, engine))
    assert (repaired.name, repaired.stage, repaired.question) == ("repair", 0, "double")
    assert repaired.prompt_tokens > len(engine.tokenizer.encode(PROMPT))
    assert repaired.output_tokens > 0
    assert unrepaired([*runs, repaired]) == []
    assert without_verdicts([failed, repaired]) == [replace(failed, verdict="", failure="")]


def test_files_keep_verdicts_and_repairs_and_old_files_have_none(profile: Profile, tmp_path: Path) -> None:
    runs = synthetic_runs(2, 0)
    file = store(profile, tmp_path / "runs.parquet", runs)
    assert read(file)[0].checker == ""
    assert {each.verdict for each in read(file)[1]} == {""}
    first = next(each for each in runs if each.name == "slm")
    checked = replace(first, verdict=Verdict.FAIL.value, score=0.5, failure="why", check_seconds=0.25)
    origin = read(file)[0].model_copy(update={"checker": checker_version(profile), "repair": "other: {failure}"})
    write(file, origin, [each if each is not first else checked for each in runs])
    again = next(each for each in read(file)[1] if each.verdict)
    assert (again.verdict, again.score, again.failure, again.check_seconds) == ("fail", 0.5, "why", 0.25)
    write(file, origin, [*runs, replace(first, name="repair")])
    with pytest.raises(StoreError, match=r"prompts\.repair"):
        load_collected([file], profile)


def test_a_profile_without_checks_is_calibrated_with_the_questions_examples(profile: Profile) -> None:
    assert [spec.name for spec in code_checks(profile)] == ["python_examples"]
    named = profile.model_copy(update={"checks": profile.checks.model_copy(update={"code": ("contains:return",)})})
    assert [(spec.name, spec.argument) for spec in code_checks(named)] == [("contains", "return")]
    assert checker_version(named) != checker_version(profile)
