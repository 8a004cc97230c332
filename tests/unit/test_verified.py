"""The policy with checks, on a table of five questions whose tokens are counted by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("pyarrow")

from lab.training.collect import Run
from lab.training.outcomes import cascade, llm_alone, tandem
from lab.training.pricing import LLM, PricedCourse
from lab.training.rule import OVERRUN, Rule
from lab.training.table import Table, make_table
from lab.training.verified import checked_llm, llm_first, verified
from tandem.method.evidence.checks import TrialPlan
from tandem.method.profile.prices import RoleRates
from tandem.method.profile.profile import load_profile
from tandem.method.request.plan import Plan, make_plan
from tests.planned import timed

NEVER = Rule(np.zeros((5, 3)), [1.0, 1.0, 1.0], llm_finishes=True, needs_pass=False)
CHECK_SECONDS = 0.125
LLM_TFLOPS = 2 * 3e9 * (20 + 100) / 1e12


def tflops(slm_tokens: float) -> float:
    return 2 * 1e9 * slm_tokens / 1e12


def run(question: str, name: str, stage: int, verdict: str, score: float, *, right: bool, own: int, prompt: int) -> Run:
    features = np.zeros(16, np.float32) if name == "slm" else None
    states = np.zeros(4, np.float16) if name == "slm" else None
    insight = (0, 10, 30)[stage]
    tokens = 60 if question == "long" else 15
    seconds = CHECK_SECONDS if verdict else 0.0
    return Run(
        question, "", name, stage, prompt, insight, own, False, "", "", right, features, states,
        question_tokens=tokens if name == "llm" else 0, verdict=verdict, score=score, check_seconds=seconds,
    )  # fmt: skip


@pytest.fixture(scope="module")
def table() -> Table:
    """The small model's answer passes for "easy"; "hinted" passes after stage 1; "hard" and "long" fail at every stage;
    "mute" has no example. A repair helps "hard". The large model's answer is right and passes, but for "long", of which
    less holds than of the small model's first answer.
    """
    verdicts = {
        "easy": ("pass", "pass", "pass"),
        "hinted": ("fail", "pass", "pass"),
        "hard": ("fail",) * 3,
        "long": ("fail",) * 3,
        "mute": ("unknown",) * 3,
    }
    runs = []
    for question, each in verdicts.items():
        is_long = question == "long"
        passes = "unknown" if question == "mute" else "fail" if is_long else "pass"
        runs.append(run(question, "llm", 0, passes, 0.25 if is_long else 1.0, right=not is_long, own=100, prompt=20))
        for stage, verdict in enumerate(each):
            score = {"pass": 1.0, "fail": 0.5, "unknown": 0.0}[verdict]
            right = verdict == "pass" or (is_long and stage == 0)
            prompt = 20 + (0, 10, 30)[stage]
            runs.append(run(question, "slm", stage, verdict, score, right=right, own=50, prompt=prompt))
        if "fail" in each:
            helps = question == "hard"
            runs.append(
                run(question, "repair", 0, "pass" if helps else "fail", float(helps), right=helps, own=40, prompt=80)
            )
    return make_table(runs, 2)


@pytest.fixture(scope="module")
def plan(request: pytest.FixtureRequest) -> Plan:
    profile = load_profile("scripted", (request.getfixturevalue("profiles_folder"),))
    return replace(make_plan(profile), prefill_ahead=False)


def served(table: Table, outcome: PricedCourse) -> dict[str, tuple[bool, int]]:
    return dict(zip(table.questions, zip(outcome.right.tolist(), outcome.stage.tolist(), strict=True), strict=True))


def test_without_trials_only_the_large_models_answer_is_checked(table: Table, plan: Plan) -> None:
    outcome, alone = verified(table, plan, TrialPlan(), NEVER), llm_alone(table, plan)
    assert outcome.full.tolist() == alone.full.tolist() == checked_llm(table, plan).full.tolist()
    assert outcome.stage.tolist() == [LLM] * 5


def test_a_pass_is_served_and_a_fail_is_paid_before_the_large_model_answers(table: Table, plan: Plan) -> None:
    outcome = verified(table, plan, TrialPlan([0]), NEVER)
    assert served(table, outcome) == {
        "easy": (True, 0), "hinted": (True, LLM), "hard": (True, LLM), "long": (True, 0), "mute": (True, LLM)
    }  # fmt: skip
    trial = tflops(20 + 50)
    assert outcome.full.tolist() == pytest.approx([trial, *[trial + LLM_TFLOPS] * 4])
    assert outcome.paper[1] == pytest.approx(
        (2 * 3e9 * 100 + 2 * 1e9 * 50) / 1e12
    )  # nobody reads the large model's text
    assert outcome.llm_tokens.tolist() == [0, 100, 100, 100, 100]


def test_the_better_of_two_failed_answers_is_served_the_large_models_if_they_are_equal(
    table: Table, plan: Plan
) -> None:
    scores = np.where(np.array(table.questions) == "long", 0.5, table.llm.score)
    even = replace(table, llm=replace(table.llm, score=scores))
    assert served(table, verified(table, plan, TrialPlan([0]), NEVER))["long"] == (True, 0)
    assert served(even, verified(even, plan, TrialPlan([0]), NEVER))["long"] == (False, LLM)


def test_a_repair_reads_question_answer_and_failure_anew(table: Table, plan: Plan) -> None:
    outcome = verified(table, plan, TrialPlan([0], repairs=1), NEVER)
    assert served(table, outcome)["hard"] == (True, 0)
    both = tflops(20 + 50 + 80 + 40)
    assert outcome.full.tolist() == pytest.approx(
        [tflops(70), both + LLM_TFLOPS, both, both + LLM_TFLOPS, tflops(70) + LLM_TFLOPS]
    )
    with pytest.raises(ValueError, match="2 repairs"):
        verified(table, plan, TrialPlan([0], repairs=2), NEVER)
    without = replace(table, repair=replace(table.repair, exists=np.zeros(5, bool)))
    with pytest.raises(ValueError, match="3 failed answers have no repair"):
        verified(without, plan, TrialPlan([0], repairs=1), NEVER)


def test_a_long_question_that_failed_gets_the_best_trial_and_no_large_model(table: Table, plan: Plan) -> None:
    outcome = verified(table, plan, TrialPlan([0], escalate_max_tokens=40), NEVER)
    assert served(table, outcome)["long"] == (True, 0)
    assert outcome.full[3] == pytest.approx(tflops(70))
    assert outcome.llm_tokens.tolist() == [0, 100, 100, 0, 100]
    unknown = replace(table, question_tokens=np.zeros(5))
    with pytest.raises(ValueError, match="questions' tokens"):
        verified(unknown, plan, TrialPlan([0], escalate_max_tokens=40), NEVER)


def test_a_trial_that_reaches_its_cap_fails_and_is_never_better(table: Table, plan: Plan) -> None:
    outcome = verified(table, plan, TrialPlan([0], max_tokens=30), NEVER)
    assert outcome.stage.tolist() == [LLM] * 5
    assert outcome.full[0] == pytest.approx(tflops(20 + 30) + LLM_TFLOPS)
    assert not outcome.right[3]
    repaired = verified(table, plan, TrialPlan([0], repairs=1, max_tokens=30), NEVER)
    assert repaired.full[0] == pytest.approx(tflops(20 + 30 + 50 + 30) + LLM_TFLOPS)


def test_a_trial_of_a_later_stage_pays_what_the_large_model_wrote_by_its_end(table: Table, plan: Plan) -> None:
    outcome = verified(table, plan, TrialPlan([1]), NEVER)
    meanwhile = 50 / 3  # a model three times as large writes a third as fast
    assert served(table, outcome)["hinted"] == (True, 1)
    assert outcome.llm_tokens.tolist() == pytest.approx([10 + meanwhile] * 2 + [100] * 3)
    assert outcome.full[1] == pytest.approx(tflops(30 + 50) + 2 * 3e9 * (20 + 10 + meanwhile + OVERRUN) / 1e12)
    assert outcome.paper[1] == pytest.approx((2 * 3e9 * (10 + meanwhile) + 2 * 1e9 * (10 + 50)) / 1e12)


def test_the_rule_goes_on_with_what_no_check_could_tell_and_uses_the_trial(table: Table, plan: Plan) -> None:
    scores = np.full((5, 3), 0.9)
    rule = Rule(scores, [0.5, 0.5, 1.0], llm_finishes=True)
    outcome = verified(table, plan, TrialPlan([0]), rule)
    assert served(table, outcome)["mute"] == (False, 0)
    assert outcome.full[4] == pytest.approx(tflops(20 + 50 + 20))  # one answer, one scoring pass
    # A failed stage is not scored; the next one is, and stops the large model.
    assert served(table, outcome)["hinted"] == (True, 1)
    assert outcome.full[1] == pytest.approx(
        tflops(70) + tflops(30) + tflops(30 + 50) + 2 * 3e9 * (20 + 10 + OVERRUN) / 1e12
    )


def test_questions_without_checks_are_left_to_the_rule(table: Table, plan: Plan) -> None:
    plain = replace(table, is_checked=np.zeros(5, bool))
    scores = np.array([[0.9, 0.9, 0.9], [0.1, 0.8, 0.9], [0.1, 0.3, 0.2], [0.1, 0.1, 0.0], [0.1, 0.6, 0.0]])
    outcome = verified(plain, plan, TrialPlan([0, 1], repairs=1), Rule(scores, [0.5] * 3, llm_finishes=False))
    expected = tandem(plain, plan, scores, [0.5] * 3, llm_finishes=False)
    assert outcome.stage.tolist() == expected.stage.tolist()
    assert outcome.full.tolist() == expected.full.tolist()


RATES = {"llm": RoleRates(200, 2000, 10), "slm": RoleRates(1000, 10000, 50), "scorer": RoleRates(1000, 10000, 50)}


def test_overlapping_saves_time_and_costs_tokens(table: Table, plan: Plan) -> None:
    measured = timed(plan, RATES)
    one = verified(table, measured, TrialPlan([0]), NEVER)
    both = verified(table, measured, TrialPlan([0], mode="overlapped"), NEVER)
    trial, llm = 20 / 1000 + 50 / 50, 20 / 200 + 100 / 10
    assert one.latency.tolist() == pytest.approx([trial + CHECK_SECONDS, *[trial + llm + 2 * CHECK_SECONDS] * 4])
    assert one.seconds.tolist() == pytest.approx(one.latency.tolist())
    written = (trial + CHECK_SECONDS - 20 / 200) * 10
    assert both.llm_tokens[0] == pytest.approx(written)
    assert both.seconds[0] == pytest.approx(trial + CHECK_SECONDS + 20 / 200 + (written + OVERRUN) / 10)
    assert both.latency[0] == pytest.approx(trial + CHECK_SECONDS)
    assert both.latency[1] == pytest.approx(llm + CHECK_SECONDS)
    assert (both.usd >= one.usd).all()
    assert np.isnan(verified(table, plan, TrialPlan([0]), NEVER).seconds).all()


def test_overlapped_the_large_model_reads_and_writes_while_the_bare_question_is_scored(
    table: Table, plan: Plan
) -> None:
    plain, measured = replace(table, is_checked=np.zeros(5, bool)), timed(plan, RATES)
    rule = Rule(np.where(np.arange(5)[:, None] == 0, 0.9, np.zeros((5, 3))), [0.5, 1.0, 1.0], llm_finishes=True)
    one, both = (verified(plain, measured, TrialPlan([0], mode=mode), rule) for mode in ("sequential", "overlapped"))
    assert both.stage.tolist() == one.stage.tolist() == [0, *[LLM] * 4]
    # A pass reads 20 tokens in 20 ms, in which the large model does not even read the question; it is stopped a little
    # later.
    assert (one.llm_tokens[0], both.llm_tokens[0]) == (0, 0)
    assert both.full[0] - one.full[0] == pytest.approx(2 * 3e9 * (20 + OVERRUN) / 1e12)
    assert both.full[1:].tolist() == one.full[1:].tolist()
    assert one.latency[1] - both.latency[1] == pytest.approx(20 / 1000)
    free = replace(rule, needs_pass=False)
    assert verified(plain, measured, TrialPlan([0], mode="overlapped"), free).full[0] < one.full[0]


def test_the_small_model_after_a_large_one_that_failed_saves_nothing(table: Table, plan: Plan) -> None:
    outcome = llm_first(table, plan)
    assert served(table, outcome)["long"] == (True, 0)
    assert outcome.full.tolist() == pytest.approx([LLM_TFLOPS] * 3 + [LLM_TFLOPS + tflops(70), LLM_TFLOPS])


def test_illustrative_price_lists_keep_their_proportions(table: Table, plan: Plan) -> None:
    alone, fallen = llm_alone(table, plan), cascade(table, plan, np.array([1.0, 0, 0, 0, 0]), 0.5)
    assert alone.usd_8[0] == pytest.approx((20 * 2 + 100 * 12) / 1e6)
    assert alone.usd_37[0] == pytest.approx((20 * 3 + 100 * 15) / 1e6)
    assert fallen.usd_8[0] == pytest.approx((20 * 0.25 + 50 * 1.5) / 1e6)
    assert fallen.usd_37[0] == pytest.approx((20 * 0.1 + 50 * 0.4) / 1e6)
