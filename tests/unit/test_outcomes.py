"""Outcomes of each method on a small table with known results."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pyarrow")

from lab.training.collect import Run
from lab.training.outcomes import cascade, fixed, llm_alone, oracle, route, slm_alone, tandem
from lab.training.pricing import LLM
from lab.training.rule import OVERRUN
from lab.training.table import make_table
from tandem.method.profile.profile import load_profile
from tandem.method.request.plan import make_plan
from tandem.method.request.result import StopReason
from tandem.method.request.tasks import StageScore
from tandem.method.rule.stop_rule import decide, fall_back


def run(question: str, name: str, stage: int, *, right: bool, own: int, insight: int = 0, prompt: int = 20) -> Run:
    features = np.full(16, stage, np.float32) if name == "slm" else None
    states = np.zeros(4, np.float16) if name == "slm" else None
    return Run(question, "", name, stage, prompt, insight, own, False, "", "", right, features, states)


@pytest.fixture(scope="module")
def table():
    """Two stages of 10 and 30 tokens. The small model needs no insight for "easy", stage 1 for "hinted"; only the large
    model answers "hard"; for "short" the large model ends before stage 2.
    """
    runs = []
    for question, rights in (("easy", (1, 1, 1)), ("hinted", (0, 1, 1)), ("hard", (0, 0, 0)), ("short", (0, 0))):
        runs.append(run(question, "llm", 0, right=True, own=25 if question == "short" else 100))
        for stage, right in enumerate(rights):
            tokens = (0, 10, 30)[stage]
            runs.append(run(question, "slm", stage, right=bool(right), own=50, insight=tokens, prompt=20 + tokens))
    return make_table(runs, 2)


@pytest.fixture(scope="module")
def plan(request: pytest.FixtureRequest):
    return make_plan(load_profile("scripted", (request.getfixturevalue("profiles_folder"),)))


def test_models_alone(table, plan) -> None:
    large, small = llm_alone(table, plan), slm_alone(table, plan)
    assert large.right.tolist() == [True] * 4
    assert small.right.tolist() == [True, False, False, False]
    assert large.full[0] == pytest.approx(2 * 3e9 * (20 + 100) / 1e12)
    assert large.paper[0] == pytest.approx(2 * 3e9 * 100 / 1e12)
    assert small.full[0] == pytest.approx(2 * 1e9 * (20 + 50) / 1e12)
    assert small.llm_tokens.tolist() == [0] * 4


def test_a_fixed_stage_lets_a_large_model_that_ended_answer(table, plan) -> None:
    outcome = fixed(table, plan, 2)
    assert outcome.right.tolist() == [True, True, False, True]
    assert outcome.stage.tolist() == [2, 2, 2, LLM]
    assert outcome.llm_tokens.tolist() == [30, 30, 30, 25]
    assert outcome.overrun_tokens[0] == OVERRUN


SCORES = np.array([[0.9, 0.9, 0.9], [0.1, 0.8, 0.9], [0.1, 0.3, 0.2], [0.1, 0.1, 0.0]])


def test_the_stop_rule_stops_where_the_workflows_does(table, plan) -> None:
    thresholds = [0.5, 0.5, 0.5]
    outcome = tandem(table, plan, SCORES, thresholds, llm_finishes=False)
    for row, scores in enumerate(SCORES[:3]):
        seen = [StageScore(k, score=s) for k, s in enumerate(scores)]
        stop = next((d for s in seen if (d := decide(s, 0.5))), None)
        assert outcome.stage[row] == (stop or fall_back(seen, thresholds, StopReason.BEST_STAGE)).stage
    assert outcome.stage.tolist() == [0, 1, 1, LLM]
    assert outcome.right.tolist() == [True, True, False, True]


def test_where_the_large_model_may_finish_a_stage_that_cannot_pass_is_not_scored(table, plan) -> None:
    outcome = tandem(table, plan, SCORES, [1.0, 1.0, 1.0], llm_finishes=True)
    alone = llm_alone(table, plan)
    assert outcome.stage.tolist() == [LLM] * 4
    assert outcome.full.tolist() == alone.full.tolist()
    one = tandem(table, plan, SCORES, [1.0, 0.5, 1.0], llm_finishes=True)
    assert one.stage.tolist() == [1, 1, LLM, LLM]
    assert one.full[2] == pytest.approx(alone.full[2] + 2 * 1e9 * 30 / 1e12)


def test_every_scoring_pass_and_the_overrun_are_paid(table, plan) -> None:
    outcome = tandem(table, plan, SCORES, [0.5] * 3, llm_finishes=False)
    scorer, slm = 30, 30 + 50  # stage 1's prompt: read once by the scorer in two steps, once by the executor
    llm = 20 + 10 + OVERRUN
    assert outcome.full[1] == pytest.approx(2 * (3e9 * llm + 1e9 * (scorer + slm)) / 1e12)
    assert outcome.full[0] == pytest.approx(2 * 1e9 * (20 + 20 + 50) / 1e12)  # the large model is never touched


def test_letting_the_large_model_finish_is_never_worse_than_its_last_stage(table, plan) -> None:
    outcome = tandem(table, plan, SCORES, [0.5] * 3, llm_finishes=True)
    assert outcome.stage.tolist() == [0, 1, LLM, LLM]
    assert outcome.right.all()
    assert outcome.llm_tokens.tolist() == [0, 10, 100, 25]


def test_router_and_cascade(table, plan) -> None:
    scores = np.array([0.9, 0.1, 0.1, 0.1])
    routed, fallen = route(table, plan, scores, 0.5), cascade(table, plan, scores, 0.5)
    assert routed.right.all()
    assert fallen.right.all()
    assert routed.slm_tokens.tolist() == [50, 0, 0, 0]
    assert fallen.slm_tokens.tolist() == [50, 50, 50, 50]  # its answers are thrown away
    assert (fallen.full[1:] > routed.full[1:]).all()


def test_the_oracle_is_right_where_any_stage_is_at_the_least_cost(table, plan) -> None:
    best = oracle(table, plan, llm_finishes=True)
    assert best.right.all()
    assert best.stage.tolist() == [0, 1, LLM, LLM]
    assert (best.full <= llm_alone(table, plan).full).all()
