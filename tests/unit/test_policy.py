"""The choice of a policy: objectives, trials among the candidates, and what a profile is written with."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("sklearn")

from lab.bench.rates import rates_of
from lab.training.collect import Run
from lab.training.policy import Measure, Objective, Point, Policy, pareto_front
from lab.training.ship import ship_policy, ship_rates
from lab.training.table import Table, make_table
from lab.training.trial_search import candidates, shortest_failures, trial_front, with_agreement, with_trials
from tandem.method.evidence.checks import TrialPlan
from tandem.method.profile.prices import Rates, RoleRates
from tandem.method.profile.profile import Profile, load_profile
from tandem.method.request.plan import Plan, make_plan
from tandem.method.rule.stop_rule import NEVER
from tests.planned import timed
from tests.unit.synthetic import synthetic_runs


@pytest.fixture(scope="module")
def profile(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Profile:
    folder = tmp_path_factory.mktemp("profiles")
    shutil.copytree(request.getfixturevalue("profiles_folder") / "scripted", folder / "scripted")
    return load_profile("scripted", (folder,))


@pytest.fixture(scope="module")
def plan(profile: Profile) -> Plan:
    return make_plan(profile)


def checked(run: Run) -> Run:
    """With the verdict of a check that is always right, and a question of 20 tokens."""
    told = run.name in ("llm", "slm")
    verdict = ("pass" if run.right else "fail") if told else ""
    return replace(run, verdict=verdict, score=float(run.right), question_tokens=20 * (run.name == "llm"))


@pytest.fixture(scope="module")
def table() -> Table:
    """60 questions with a check that is always right, and 40 without one, whose answers never agree."""
    return make_table([*map(checked, synthetic_runs(60, 0)), *synthetic_runs(40, 1)], 3)


def test_each_objective_chooses_the_point_that_it_names() -> None:
    policy = Policy((NEVER,), False)
    points = [Point(policy, a, c, 0.7 - a) for a, c in ((0.5, 0.2), (0.6, 0.4), (0.7, 0.8))]
    assert Objective(below=0.1).choose(points).cost == 0.4
    assert Objective(below=-0.2).choose(points).cost == 0.8  # out of reach: the nearest
    assert Objective(most_cost=0.5).choose(points).accuracy == 0.6
    assert Objective(price=10.0).choose(points).accuracy == 0.5
    assert pareto_front([*points, Point(policy, 0.55, 0.5, 0.15)]) == points
    # What the one kind of question gains does not make up for what the other loses.
    assert Objective(below=0.0).choose([*points, Point(policy, 0.75, 0.3, 0.05)]).cost == 0.8


def test_a_check_that_is_always_right_finds_a_trial_that_loses_nothing_and_saves(table: Table, plan: Plan) -> None:
    never, scores = Policy((NEVER,) * 4, True, needs_pass=False), np.zeros((100, 4))
    points = with_trials([never], table, plan, scores, "full")
    best = Objective(below=0.0).choose(
        [Measure(table, plan, "full").point(never, never.run(table, plan, scores)), *points]
    )
    assert best.policy.trial.stages[0] == 0
    assert best.cost < 1
    assert best.lost <= 0
    assert with_trials([never], table.take(~table.is_checked), plan, scores[60:], "full") == []


def test_an_unreliable_check_is_not_used_where_nothing_may_be_lost(table: Table, plan: Plan) -> None:
    everything = np.broadcast_to(table.is_checked[:, None], table.slm.passed.shape)
    credulous = replace(table, slm=replace(table.slm, passed=everything, failed=np.zeros_like(everything)))
    never, scores = Policy((NEVER,) * 4, True, needs_pass=False), np.zeros((100, 4))
    without = Measure(table, plan, "full").point(never, never.run(credulous, plan, scores))
    tried = with_trials([never], credulous, plan, scores, "full")
    assert Objective(below=0.0).choose([without, *tried]).policy == never
    assert Objective(below=1.0).choose([without, *tried]).policy.trial.stages == [0]


def test_the_front_of_trials_rises_and_overlapping_needs_rates(table: Table, plan: Plan) -> None:
    front = trial_front(table, plan, "full")
    assert [p.accuracy for p in front] == sorted(p.accuracy for p in front)
    assert {p.policy.trial.mode for p in front} == {"sequential"}
    part = table.take(table.is_checked)
    assert {trial.mode for trial in candidates(part, plan)} == {"sequential"}
    rate = RoleRates(100, 1000, 10)
    measured = timed(plan, dict.fromkeys(plan.models, rate))
    assert {trial.mode for trial in candidates(part, measured)} == {"sequential", "overlapped"}
    assert all(trial.repairs == 0 for trial in candidates(part, plan))  # none were collected
    with pytest.raises(ValueError, match="bench-rates"):
        Measure(table, plan, "seconds")


def test_answers_that_agree_stop_a_question_that_has_no_other_check(table: Table, plan: Plan) -> None:
    never, scores = Policy((NEVER,) * 4, True, needs_pass=False), np.zeros((100, 4))
    agreeing = replace(table, final_answers=np.full((100, 4), "6", object))
    trial = replace(never, trial=TrialPlan([1, 2]), agreement=2)
    assert set(trial.run(agreeing, plan, scores).stage[60:]) == {2}
    assert set(trial.run(table, plan, scores).stage[60:]) == {-1}
    assert {len(p.policy.trial.stages) for p in with_agreement([never], table, plan, scores, "full")} == {2}


def test_a_share_of_the_failures_is_the_shortest_of_them(table: Table) -> None:
    lengths = np.where(table.is_checked, np.arange(100, dtype=float) + 1, 5.0)
    part = replace(table, question_tokens=lengths).take(table.is_checked)
    limit = shortest_failures(part, TrialPlan([0]), 0.7).escalate_max_tokens
    failed = part.question_tokens[part.slm.failed[:, 0]]
    assert (failed <= limit).mean() == pytest.approx(0.7, abs=0.03)


def test_a_scoring_pass_has_the_rates_of_the_small_model() -> None:
    large, small = RoleRates(100, 1000, 10), RoleRates(300, 1000, 30)
    assert rates_of({"llm": large, "slm": small}, "today").by_role == {"llm": large, "slm": small, "scorer": small}


def test_a_profile_is_written_with_trial_checks_and_rates(profile: Profile, table: Table) -> None:
    trial = TrialPlan([0, 1], "overlapped", 0, 48, 30, limit=profile.trial.limit)
    ship_policy(profile, Policy((0.5, 0.25, 1.0, 1.0), True, kind="words", trial=trial, agreement=2), table)
    ship_rates(profile, Rates("today", dict.fromkeys(("llm", "slm", "scorer"), RoleRates(1234.5, float("inf"), 9.876))))
    written = load_profile("scripted", (profile.folder.parent,))
    assert make_plan(written).trial == trial
    assert (written.checks.answer, written.checks.code) == (("agreement:2",), ("python_examples",))
    assert written.rates == Rates(
        "today", dict.fromkeys(("llm", "slm", "scorer"), RoleRates(1230.0, float("inf"), 9.88))
    )
    assert [stage.threshold for stage in written.stages] == [0.25, 1.0, 1.0]
    ship_policy(written, Policy((1.0,) * 4, True, kind="words"), table)
    assert load_profile("scripted", (profile.folder.parent,)).trial.stages == ()
