from __future__ import annotations

from dataclasses import replace

import pytest

from tandem.method.cost.allowance import TEMPLATE_TOKENS, allowance
from tandem.method.cost.cost import worst_case_usd
from tandem.method.request.request import Budget
from tandem.method.request.result import StopReason
from tandem.method.request.tasks import StageScore
from tandem.method.rule.stop_rule import decide, fall_back, is_sufficient, thresholds
from tests.planned import changed
from tests.unit.test_cost import PLAN

T = [0.7, 0.5, 0.6]


def scores(*values: float | None) -> list[StageScore]:
    return [StageScore(stage, tokens=10 * stage, score=value) for stage, value in enumerate(values)]


def test_a_score_that_reaches_its_threshold_suffices() -> None:
    assert [is_sufficient(s, 0.5) for s in (0.5, 0.4999, None)] == [True, False, False]
    stop = decide(StageScore(1, score=0.5), 0.5)
    assert stop is not None
    assert (stop.stage, stop.reason, stop.score, stop.threshold) == (1, StopReason.SUFFICIENT, 0.5, 0.5)
    assert decide(StageScore(1, score=0.49), 0.5) is None


def test_the_fallback_is_the_highest_score_and_not_the_last_stage() -> None:
    assert fall_back(scores(0.1, 0.4, 0.3), T, StopReason.BEST_STAGE).stage == 1
    assert fall_back(scores(0.4, 0.4, 0.4), T, StopReason.BEST_STAGE).stage == 0
    assert fall_back(scores(None, None, 0.1), T, StopReason.BEST_STAGE).stage == 2


def test_without_any_score_the_last_insight_is_used_and_said_so() -> None:
    stop = fall_back(scores(None, None), T, StopReason.BEST_STAGE)
    assert (stop.stage, stop.reason, stop.score) == (1, StopReason.SCORER_FAILED_OPEN, None)
    assert fall_back(scores(None), T, StopReason.LLM_UNAVAILABLE).reason is StopReason.LLM_UNAVAILABLE
    assert fall_back([], T, StopReason.BUDGET).stage == 0


def test_thresholds_begin_with_the_bare_question() -> None:
    assert thresholds(PLAN) == [0.7, 0.5, 0.6]


@pytest.mark.parametrize(
    ("limit", "caps"), [(None, [100, 500]), (1000, [100, 500]), (300, [100, 300]), (100, [100]), (50, [50]), (0, [])]
)
def test_a_token_budget_cuts_the_stages(limit: int | None, caps: list[int]) -> None:
    allowed = allowance(PLAN, Budget(max_llm_tokens=limit), 10)
    assert allowed.caps == caps
    assert allowed.is_limited == (caps != [100, 500])


def test_a_large_model_that_may_finish_has_the_answers_cap_if_the_budget_bears_it() -> None:
    plan = replace(PLAN, llm_finishes=True, answer_max_tokens=900)
    free = allowance(plan, Budget(), 10)
    assert (free.caps, free.finish, free.llm_caps, free.is_limited) == ([100, 500], 900, [100, 500, 900], False)
    cut = allowance(plan, Budget(max_llm_tokens=700), 10)
    assert (cut.caps, cut.finish, cut.is_limited) == ([100, 500], None, True)


def test_a_cost_budget_keeps_the_stages_whose_worst_case_fits() -> None:
    prompt = 10 + TEMPLATE_TOKENS
    one_stage = worst_case_usd(PLAN, prompt, 100, 200)
    assert allowance(PLAN, Budget(max_cost_usd=one_stage), 10).caps == [100]
    none = allowance(PLAN, Budget(max_cost_usd=one_stage * 0.5), 10)
    assert none.caps == []
    assert worst_case_usd(PLAN, prompt, 0, none.answer_tokens) <= one_stage * 0.5
    assert allowance(PLAN, Budget(max_cost_usd=1e-9), 10).answer_tokens == 0


def test_free_answers_are_never_cut() -> None:
    free = changed(PLAN, "slm", prices=replace(PLAN.slm.prices, output=0))
    assert allowance(free, Budget(max_cost_usd=1e-3), 10).answer_tokens == 200
