"""Who tries first is policy: what further small models cost and answer on collected questions, and the order that is
found.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("sklearn")

from lab.training.calibrate import calibrate
from lab.training.collect import Run
from lab.training.collected import load_collected
from lab.training.errors import StoreError
from lab.training.outcomes import llm_alone
from lab.training.policy import Measure, Objective, Policy
from lab.training.pricing import LLM
from lab.training.promise import Promise
from lab.training.promise_files import ship_promise
from lab.training.promised import policy_of, show_promise
from lab.training.rule import Rule
from lab.training.ship import ship
from lab.training.store import Origin, read, write
from lab.training.study import Study
from lab.training.table import Table, make_table
from lab.training.train import TrainingOptions, train
from lab.training.trial_search import orders, trial_front
from lab.training.verified import verified
from tandem.method.evidence.checks import CheckSpec, TrialPlan
from tandem.method.profile.profile import Profile, load_profile
from tandem.method.request.plan import Plan, make_plan
from tests.planned import changed
from tests.unit.synthetic import ignore, programs_run_once, quick_arithmetic, store, synthetic_runs  # noqa: F401
from tests.unit.test_promised import STRONG, STRONG_ANSWER, programs

pytestmark = pytest.mark.usefixtures("quick_arithmetic", "programs_run_once")
NEVER = Rule(np.zeros((5, 2)), [1.0, 1.0], llm_finishes=True, needs_pass=False)
LLM_TFLOPS, SLM_TFLOPS, SECOND_TFLOPS = 0.72, 0.14, 0.24  # 120 tokens at 3e9, 70 at 1e9, 60 at 2e9 parameters
VERDICTS = {
    "both": ("pass", "pass", "pass"),
    "apart": ("pass", "pass", "fail"),  # the first model's program is wrong
    "first fails": ("fail", "pass", "unknown"),
    "second fails": ("pass", "fail", "unknown"),
    "no inputs": ("pass", "pass", ""),  # the check of agreement does not apply
}


def answer(question: str, name: str, verdict: str, *, right: bool, prompt: int = 20, own: int = 50) -> Run:
    read: dict[str, Any] = {"features": np.zeros(16, np.float32), "states": np.zeros(4, np.float16)}
    score = {"pass": 1.0, "fail": 0.5}.get(verdict, 0.0)
    return Run(
        question, "", name, 0, prompt, 0, own, False, "", "", right, **(read if name == "slm" else {}),
        question_tokens=15, verdict=verdict, score=score, check_seconds=0.125,
    )  # fmt: skip


@pytest.fixture(scope="module")
def table() -> Table:
    """Five questions, whose large model is always right."""
    runs = []
    for question, (first, second, agreement) in VERDICTS.items():
        runs.append(answer(question, "llm", "pass", right=True, own=100))
        runs.append(answer(question, "slm", first, right=first == "pass" and question != "apart"))
        runs.append(answer(question, "second_slm", second, right=second == "pass", own=40))
        if agreement:
            runs.append(answer(question, "agreement", agreement, right=False, prompt=0, own=0))
    return make_table(runs, 1)


@pytest.fixture
def profile(profiles_folder: Path, tmp_path: Path) -> Profile:
    shutil.copytree(profiles_folder / "scripted-agreeing", tmp_path / "profiles" / "scripted-agreeing")
    return load_profile("scripted-agreeing", (tmp_path / "profiles",))


@pytest.fixture
def plan(profile: Profile) -> Plan:
    return replace(make_plan(profile, "code"), prefill_ahead=False)


def tried(*order: Any) -> TrialPlan:
    return TrialPlan([0], order=list(order))


def test_each_model_tries_where_those_before_it_did_not_pass(table: Table, plan: Plan) -> None:
    found = verified(table, plan, tried("slm", "second_slm"), NEVER)
    assert found.stage.tolist() == [0] * 5
    assert found.right.tolist() == [True, False, True, True, True]
    assert found.full.tolist() == pytest.approx(
        [SLM_TFLOPS, SLM_TFLOPS, SLM_TFLOPS + SECOND_TFLOPS, SLM_TFLOPS, SLM_TFLOPS]
    )
    assert found.slm_tokens.tolist() == [50, 50, 90, 50, 50]
    other = verified(table, plan, tried("second_slm", "slm"), NEVER)
    assert other.right.tolist() == [True] * 5
    assert other.full[3] == pytest.approx(SECOND_TFLOPS + SLM_TFLOPS)
    alone = verified(table, plan, tried("second_slm"), NEVER)
    assert alone.stage.tolist() == [0, 0, 0, LLM, 0]
    assert alone.full[3] == pytest.approx(SECOND_TFLOPS + LLM_TFLOPS)
    assert alone.usd[0] == pytest.approx((20 * 2 + 40 * 4) / 1e6)  # at the second model's own prices
    assert alone.seconds[0] == pytest.approx(20 / 200 + 40 / 20 + 0.125)


def test_where_programs_must_agree_nothing_else_passes_and_no_model_is_asked_in_vain(table: Table, plan: Plan) -> None:
    found = verified(table, plan, tried("slm", "second_slm"), NEVER, must_agree=True)
    assert found.stage.tolist() == [0, LLM, LLM, LLM, 0]
    assert found.right.all()
    both = SLM_TFLOPS + SECOND_TFLOPS
    assert found.full.tolist() == pytest.approx(
        [both, both + LLM_TFLOPS, SLM_TFLOPS + LLM_TFLOPS, both + LLM_TFLOPS, SLM_TFLOPS]
    )
    assert found.seconds[0] == pytest.approx(
        20 / 400 + 50 / 40 + 20 / 200 + 40 / 20 + 3 * 0.125
    )  # and the check of both


def test_an_answer_that_no_check_judges_is_the_first_models_of_the_order(table: Table, plan: Plan) -> None:
    nothing, right = np.zeros(5, bool), np.ones(5, bool)
    open_ = replace(
        table,
        slm=replace(
            table.slm, passed=np.zeros((5, 2), bool), failed=np.zeros((5, 2), bool), right=np.zeros((5, 2), bool)
        ),
        further={"second_slm": replace(table.further["second_slm"], passed=nothing, failed=nothing, right=right)},
    )
    stops = Rule(np.ones((5, 2)), [0.5, 1.0], llm_finishes=True, needs_pass=False)
    assert not verified(open_, plan, tried("slm", "second_slm"), stops).right.any()
    found = verified(open_, plan, tried("second_slm", "slm"), stops)
    assert found.right.all()
    assert found.full.tolist() == pytest.approx([SLM_TFLOPS + SECOND_TFLOPS] * 5)  # nothing is written again


def test_what_was_not_collected_is_not_simulated(table: Table, plan: Plan) -> None:
    for stages, repairs in (([0, 1], 0), ([0], 1)):
        with pytest.raises(ValueError, match="first answers to bare questions"):
            verified(table, plan, TrialPlan(stages, repairs=repairs, order=["slm", "second_slm"]), NEVER)
    old = replace(table, further={"second_slm": replace(table.further["second_slm"], exists=np.zeros(5, bool))})
    with pytest.raises(ValueError, match="5 questions have no answer of the second small model"):
        verified(old, plan, tried("second_slm"), NEVER)
    assert orders(old, plan, "full") == [("slm",)]
    two = [("slm",), ("second_slm",), ("slm", "second_slm"), ("second_slm", "slm")]
    assert orders(table, plan, "full") == two
    unmeasured = changed(plan, "second_slm", rates=None)
    assert orders(table, unmeasured, "seconds") == [("slm",)]
    assert np.isnan(verified(table, unmeasured, tried("second_slm"), NEVER).seconds).all()


def test_the_search_considers_each_order_with_and_without_agreement(table: Table, plan: Plan) -> None:
    front = trial_front(table, plan, "usd")
    best = max(front, key=lambda point: (point.accuracy, -point.cost)).policy
    assert best.trial.order == ["second_slm", "slm"]  # loses nothing, and two of five questions need one model alone
    second = table.further["second_slm"]
    wrong = replace(table, further={"second_slm": replace(second, right=second.right & (np.arange(5) != 1))})
    safest = Objective("usd", below=0.0).choose(trial_front(wrong, plan, "usd")).policy
    assert safest.programs_agree  # the programs that are wrong differ
    measure = Measure(wrong, plan, "usd")
    assert measure.point(safest, safest.run(wrong, plan, np.zeros((5, 2)))).accuracy == 1.0


def with_further(runs: list[Run], first: str, **further: str) -> list[Run]:
    """The first model's answers to bare questions say `first` of their check, and those of further ones, which are
    right, what is given by role.
    """
    found = []
    for run in runs:
        checked = replace(run, verdict="pass", score=1.0, question_tokens=20, asked=STRONG)
        if run.name == "llm":
            own = replace(run, output_tokens=30, right=True, score=1.0)
            found += [checked, *(replace(own, name=role, verdict=verdict) for role, verdict in further.items())]
        elif run.name == "slm":
            found.append(replace(run, verdict=first, score=0.5, right=run.right))
    return found


def test_calibrate_finds_who_tries_and_ships_it(profile: Profile, tmp_path: Path) -> None:
    runs = with_further(synthetic_runs(40, 0), "fail", second_slm="pass")
    collected = load_collected([store(profile, tmp_path / "some.parquet", runs)], profile)
    study = Study(tmp_path / "study")
    train(collected, profile, study, TrainingOptions(("words",), "words", "right", 3), ignore)
    found = calibrate(collected.table, collected.plan, study, Objective("full", below=0.0), "test", True, False, ignore)
    assert (found.policies.served.trial.order, found.policies.served.trial.stages) == (["second_slm"], [0])
    ship(profile, study, collected.table)
    shipped = load_profile(profile.name, (profile.folder.parent,))
    assert shipped.trial_order == ("second_slm",)
    assert [str(check) for check in shipped.checks.of("code")] == ["python_examples"]  # nothing needs to agree
    assert policy_of(shipped, "code").trial.order == ["second_slm"]


def test_a_promise_is_shown_by_who_tries_and_the_orders_share_its_confidence(profile: Profile, tmp_path: Path) -> None:
    """The first model's passes are wrong too often; the second one's are right."""
    runs = []
    for run in (replace(each, output_tokens=40) for each in programs(120, STRONG, STRONG_ANSWER, wrong=12)):
        runs.append(run)
        if run.name == "llm":
            runs.append(replace(run, name="second_slm", asked="", question_tokens=0))
            runs.append(replace(run, name="agreement", asked="", question_tokens=0, verdict="fail"))
    collected = load_collected([store(profile, tmp_path / "new.parquet", runs, "new")], profile)
    [found] = show_promise(collected, profile, Promise(0.05), "full", ignore)
    said = {each.evidence: each.is_accepted for each in found.tested}
    strong, scored = "checks python_examples:weight=4 at stages 0", "; scores of untrained from 1, 1, 1, 1"
    assert {each: said[each] for each in said if each.startswith(strong)} == {
        f"{strong}{scored}": False,
        f"{strong} by second_slm{scored}": True,
        f"{strong} by slm, second_slm{scored}": False,
        f"{strong} by second_slm, slm{scored}": True,
    }
    assert found.chosen is not None
    assert "by second_slm" in found.chosen.evidence
    assert found.chosen.bound == pytest.approx(
        1 - (0.05 / 6) ** (1 / 120)
    )  # six families: four orders, two of them also agreeing
    ship_promise(profile, found)
    shipped = load_profile(profile.name, (profile.folder.parent,))
    assert shipped.trial_order == ("second_slm",)
    [made] = shipped.promises
    assert shipped.keeps(made)


def test_files_without_a_second_model_are_read_and_judge_no_order_of_it(profile: Profile, tmp_path: Path) -> None:
    runs = programs(80, STRONG, STRONG_ANSWER, wrong=0)
    file = store(profile, tmp_path / "old.parquet", runs, "old")
    collected = load_collected([file], profile)
    assert not collected.table.further
    with pytest.raises(StoreError, match="scripted-second answers to these questions"):
        show_promise(collected, profile, Promise(0.05), "full", ignore)
    first = profile.model_copy(update={"trial": profile.trial.model_copy(update={"order": ("slm",)})})
    [shown] = show_promise(collected, first, Promise(0.05), "full", ignore)
    assert shown.chosen is not None
    origin, kept = read(file)
    other = origin.profile.slm.model_copy(update={"name": "another"})
    document = origin.model_dump()
    assert Origin.model_validate(document | {"second_slm": None}) == origin  # as 0.2.0 wrote it
    del document["further"]
    write(file, Origin.model_validate(document | {"second_slm": other.model_dump()}), kept)
    with pytest.raises(StoreError, match="another, and scripted-agreeing names scripted-second"):
        load_collected([file], profile)


def test_an_outcome_of_no_second_model_costs_what_it_did(table: Table, plan: Plan) -> None:
    alone = llm_alone(table, plan)
    nothing = Policy((1.0, 1.0), llm_finishes=True, needs_pass=False).run(table, plan, np.zeros((5, 2)))
    assert (nothing.full.tolist(), nothing.usd.tolist()) == (alone.full.tolist(), alone.usd.tolist())
    assert CheckSpec.parse("python_agreement").wants_other


THREE = {  # what the checks say of each model's program, then of first and second, first and third, second and third
    "two agree": ("pass", "pass", "pass", "pass", "fail", "fail"),
    "second differs": ("pass", "pass", "pass", "fail", "pass", "fail"),
    "first fails": ("fail", "pass", "pass", "unknown", "unknown", "pass"),
    "two fail": ("fail", "fail", "pass", "unknown", "unknown", "unknown"),
    "cannot tell": ("pass", "pass", "pass", "unknown", "pass", "fail"),
}
NAMES = "slm", "second_slm", "third_slm", "agreement", "agreement:slm+third_slm", "agreement:second_slm+third_slm"


@pytest.fixture
def three(profiles_folder: Path, tmp_path: Path) -> Profile:
    """Of three small models."""
    shutil.copytree(profiles_folder / "scripted-third", tmp_path / "three" / "scripted-third")
    return load_profile("scripted-third", (tmp_path / "three",))


def test_of_three_models_a_program_passes_that_agrees_with_the_newest_that_failed_nothing(three: Profile) -> None:
    """As the workflow compares them; the last one is not asked where all others failed."""
    runs = []
    for question, verdicts in THREE.items():
        runs.append(answer(question, "llm", "pass", right=True, own=100))
        runs += [answer(question, name, said, right=True) for name, said in zip(NAMES, verdicts, strict=True)]
    table, plan = make_table(runs, 1), replace(make_plan(three, "code"), prefill_ahead=False)
    assert [*table.further] == ["second_slm", "third_slm"]
    found = verified(table, plan, tried("slm", "second_slm", "third_slm"), NEVER, must_agree=True)
    assert found.stage.tolist() == [0, 0, 0, LLM, LLM]
    assert found.slm_tokens.tolist() == [100, 150, 150, 100, 150]
    assert found.usd[0] == pytest.approx((20 * (1 + 2) + 50 * (2 + 4)) / 1e6)
    third = replace(table.further["third_slm"], exists=np.zeros(5, bool))
    without = replace(table, further=dict(table.further, third_slm=third))
    with pytest.raises(ValueError, match="5 questions have no answer of the third small model"):
        verified(without, plan, tried("slm", "third_slm"), NEVER)


def test_the_orders_are_all_of_the_models_whose_cost_is_known(table: Table, three: Profile) -> None:
    plan, second = make_plan(three, "code"), table.further["second_slm"]
    both = replace(table, further={"second_slm": second, "third_slm": second})
    found = orders(both, plan, "usd")
    assert (len(found), len(set(found)), max(map(len, found))) == (15, 15, 3)
    assert orders(both, changed(plan, "third_slm", rates=None), "seconds") == orders(table, plan, "seconds")


def test_calibrate_ships_the_third_model_where_it_alone_passes(three: Profile, tmp_path: Path) -> None:
    runs = with_further(synthetic_runs(40, 0), "fail", second_slm="fail", third_slm="pass")
    collected = load_collected([store(three, tmp_path / "some.parquet", runs)], three)
    study = Study(tmp_path / "study")
    train(collected, three, study, TrainingOptions(("words",), "words", "right", 3), ignore)
    calibrate(collected.table, collected.plan, study, Objective("full", below=0.0), "test", True, False, ignore)
    ship(three, study, collected.table)
    assert load_profile(three.name, (three.folder.parent,)).trial_order == ("third_slm",)


def test_a_promise_of_three_models_is_shown_by_all_their_orders(three: Profile, tmp_path: Path) -> None:
    """Only the third one's passes are right."""
    runs = []
    for run in (replace(each, output_tokens=40) for each in programs(120, STRONG, STRONG_ANSWER, wrong=12)):
        runs.append(run)
        if run.name == "llm":
            other = replace(run, asked="", question_tokens=0)
            runs += [replace(other, name="second_slm", right=False), replace(other, name="third_slm")]
    collected = load_collected([store(three, tmp_path / "new.parquet", runs, "new")], three)
    [found] = show_promise(collected, three, Promise(0.05), "usd", ignore)
    assert found.chosen is not None
    assert "by third_slm;" in found.chosen.evidence
    assert found.chosen.bound == pytest.approx(1 - (0.05 / 15) ** (1 / 120))
    ship_promise(three, found)
    assert load_profile(three.name, (three.folder.parent,)).trial_order == ("third_slm",)
    two = [run for run in runs if run.name != "third_slm"]
    lacking = load_collected([store(three, tmp_path / "old.parquet", two, "old")], three)
    with pytest.raises(StoreError, match="what scripted-third answers to these questions"):
        show_promise(lacking, three, Promise(0.05), "usd", ignore)
