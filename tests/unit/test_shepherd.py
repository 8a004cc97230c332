"""LLM Shepherding and the paper's baselines on a small table with known results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("sklearn")

from lab.training.collect import Run
from lab.training.errors import StudyError
from lab.training.outcomes import forced_where, llm_alone, slm_alone
from lab.training.policy import Measure, Objective, Policy, tune_for_accuracy
from lab.training.pricing import LLM
from lab.training.rule import stop_rule
from lab.training.shepherd import HintPredictor, Hints, Shepherd, find, shortest_hint
from lab.training.study import POLICY, Study
from lab.training.table import Table, make_table
from tandem.method.profile.profile import load_profile
from tandem.method.request.plan import Plan, make_plan
from tandem.method.rule.stop_rule import NEVER
from tests.unit.synthetic import synthetic_runs

STAGES = 3
NO_SCORES = np.zeros(4)


@pytest.fixture(scope="module")
def plan(request: pytest.FixtureRequest) -> Plan:
    """Stages of 16, 32 and 48 tokens."""
    return make_plan(load_profile("scripted", (request.getfixturevalue("profiles_folder"),)))


@pytest.fixture(scope="module")
def table(plan: Plan) -> Table:
    """The small model needs no hint, stage 1's, stage 3's; the last question only the large model answers."""
    caps, runs = [0, *(stage.max_tokens for stage in plan.stages)], []
    for name, first in (("easy", 0), ("hinted", 1), ("long", 3), ("hard", 9)):
        asked = f"What about {name}?"
        runs.append(Run(name, "", "llm", 0, 20, 0, 100, False, "", "", right=True, asked=asked))
        for stage, tokens in enumerate(caps):
            runs.append(
                Run(
                    name, "", "slm", stage, 20 + tokens, tokens, 50, False, "", "", stage >= first,
                    np.zeros(16, np.float32), np.zeros(4, np.float16),
                )
            )  # fmt: skip
            if stage:
                runs.append(Run(name, "", "forced", stage, 30, tokens, 5, False, "", "", name == "long"))
    return make_table(runs, STAGES)


def test_the_shortest_hint_is_that_of_the_first_right_stage(table: Table, plan: Plan) -> None:
    first, _, last = (stage.max_tokens for stage in plan.stages)
    assert shortest_hint(table).tolist() == [0, first, last, 100]


def test_a_predicted_length_is_rounded_up_to_a_stage_and_paid_without_overrun(table: Table, plan: Plan) -> None:
    first, second, last = (stage.max_tokens for stage in plan.stages)
    hints = Hints(np.array([0.1, 0.9, 0.9, 0.9]), np.array([9.0, first, first + 1, last + 1]))
    outcome = Shepherd(needed=0.5, factor=1.0).run(table, plan, hints, NO_SCORES)
    assert outcome.stage.tolist() == [0, 1, 2, LLM]
    assert outcome.llm_tokens.tolist() == [0, first, second, 100]
    assert outcome.overrun_tokens.tolist() == [0] * 4
    assert outcome.right.tolist() == [True, True, False, True]


def test_the_reactive_one_pays_the_answer_that_it_does_not_trust(table: Table, plan: Plan) -> None:
    hints = Hints(np.zeros(4), np.full(4, 1e9))
    outcome = Shepherd(0.0, 1.0, trusted=0.5).run(table, plan, hints, np.array([0.9, 0.1, 0.1, 0.1]))
    small, large = slm_alone(table, plan), llm_alone(table, plan)
    assert outcome.stage.tolist() == [0, LLM, LLM, LLM]
    assert outcome.full == pytest.approx(small.full + np.where([False, True, True, True], large.full, 0.0))


def test_a_saved_predictor_predicts_the_same(tmp_path: Path) -> None:
    table = make_table(synthetic_runs(80, 0), STAGES)
    predictor = HintPredictor.fit(table, 0)
    predictor.save(tmp_path / "hints.safetensors")
    before, after = (each.predict(table) for each in (predictor, HintPredictor.load(tmp_path / "hints.safetensors")))
    assert np.array_equal(before.needed, after.needed)
    assert np.array_equal(before.tokens, after.tokens)


def test_what_is_found_meets_the_objective_on_the_training_questions(plan: Plan) -> None:
    table = make_table(synthetic_runs(80, 0), STAGES)
    measure, fold = Measure(table, plan, "full"), np.arange(80) % 4
    found = find(table, plan, measure, Objective("full", most_cost=0.7), np.zeros(80), fold, 0)
    outcome = found.proactive.run(table, plan, found.predictor.predict(table), np.zeros(80))
    assert 0 < outcome.full.mean() < llm_alone(table, plan).full.mean()
    assert found.reactive.trusted is not None


def test_the_papers_rule_stops_before_the_first_stage_only_if_it_may(table: Table, plan: Plan) -> None:
    scores = table.slm.right.astype(float) * 0.8 + 0.1
    three, four = (tune_for_accuracy(table, plan, scores, first) for first in (1, 0))
    assert three.thresholds[0] == NEVER
    assert four.run(table, plan, scores).stage.tolist()[:3] == [0, 1, 3]
    assert three.run(table, plan, scores).stage.tolist()[0] > 0


def test_forced_where_a_rule_stops_has_its_evidence_and_pays_for_it(table: Table, plan: Plan) -> None:
    policy, scores = Policy((NEVER, 0.5, 0.5, 0.5), True), np.full((4, STAGES + 1), 0.1)
    scores[2, 3] = 0.9
    ruled = stop_rule(table, plan, policy.rule(scores))
    outcome, last = forced_where(table, plan, ruled), plan.stages[-1].max_tokens
    assert outcome.right.tolist() == [True] * 4
    assert outcome.llm_tokens.tolist() == [100, 100, last + 5, 100]
    assert outcome.slm_tokens.tolist() == [0] * 4
    assert (outcome.full > llm_alone(table, plan).full).tolist() == [True, True, False, True]


def test_a_study_of_another_version_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / POLICY).write_text("{}")
    with pytest.raises(StudyError, match="run `tandem calibrate` again"):
        Study(tmp_path).policies()
    with pytest.raises(StudyError, match="run `tandem calibrate` first"):
        Study(tmp_path).hints()
