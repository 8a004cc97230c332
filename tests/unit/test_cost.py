from __future__ import annotations

import pytest

from tandem.method.conversation import Message
from tandem.method.cost.cost import cost, tflops_full, tflops_paper, worst_case_usd
from tandem.method.profile.prices import RolePrices
from tandem.method.request.plan import Plan, PlannedModel, StagePlan
from tandem.method.request.request import SolveRequest
from tandem.method.tokens import TokenCounts
from tests.planned import pair, used

PLAN = Plan(
    profile="p", profile_digest="", handoff="continuation", price_version="v1",
    models=pair(PlannedModel("L", 32e9, RolePrices(3, 1, 6)), PlannedModel("S", 7e9, RolePrices(1, 0.5, 2))),
    stages=[StagePlan("a", 100, 0.5), StagePlan("b", 500, 0.6)], scores_stage_zero=True, stage_zero_threshold=0.7,
    answer_max_tokens=200, answer_format="boxed",
    llm_alone_output_tokens=1000,
)  # fmt: skip


def test_alone_the_large_model_would_have_had_the_turns_before_in_its_cache() -> None:
    said = [Message("user", "a" * 3000), Message("assistant", "b" * 500), Message("user", "c" * 500)]
    share = SolveRequest("r", "", history=said).repeated_share
    assert share == 0.75
    assert SolveRequest("r", "first", history=said[:1]).repeated_share == 0
    bills = [cost(PLAN, used(slm=TokenCounts(30)), tokens, repeated=share) for tokens in (1000, 2000)]
    short, long = ((bill.usd_llm_alone or 0) * 1e6 - 1000 * 6 for bill in bills)
    assert (short, long) == (pytest.approx(1000 * 3), pytest.approx(500 * 3 + 1500 * 1))


@pytest.mark.parametrize(
    ("row", "llm_parameters", "llm_tokens", "mean_tokens", "published"),
    # docs/paper.md, Published figures: mean tokens are the two models' together; the insight's length follows from the
    # published TFLOPs
    [
        ("7B alone", 0, 0, 2732, 38.25),
        ("32B alone", 32e9, 2630, 2630, 168.35),
        ("fixed low", 32e9, 101, 2735, 44.76),
        ("fixed medium", 32e9, 500, 2853, 71.96),
        ("fixed high", 32e9, 994, 2930, 104.62),
        ("Tandem", 32e9, 920, 2916, 99.72),
    ],
)
def test_the_papers_formula_gives_its_published_rows(
    row: str, llm_parameters: float, llm_tokens: int, mean_tokens: int, published: float
) -> None:
    slm_parameters = 0 if row == "32B alone" else 7e9
    got = tflops_paper(llm_parameters, llm_tokens, slm_parameters, mean_tokens - llm_tokens)
    assert got == pytest.approx(published, rel=0.005)


def test_full_counts_all_work_and_nothing_out_of_a_cache() -> None:
    usage = used(
        llm=TokenCounts(10, 1000, 20, 3, 7),
        slm=TokenCounts(30, 0, 40, 0, 5),
        scorer=TokenCounts(50, 60, 0, 0, 0),
    )
    assert tflops_full(PLAN, usage) == pytest.approx(2 * (32e9 * 40 + 7e9 * (75 + 50)) / 1e12)


def test_every_state_of_a_token_has_its_price() -> None:
    usage = used(llm=TokenCounts(10, 4, 20, 3, 7), slm=TokenCounts(30, 0, 40, 0, 0), scorer=TokenCounts(50, 60))
    bill = cost(PLAN, usage, prompt_tokens=10)
    assert bill.usd_by_role["llm"] == pytest.approx((10 * 3 + 4 * 1 + 30 * 6) / 1e6)
    assert bill.usd_by_role["slm"] == pytest.approx((30 + 80) / 1e6)
    assert bill.usd_by_role["scorer"] == pytest.approx((50 + 30) / 1e6)
    assert bill.usd == pytest.approx(bill.usd_by_role["llm"] + bill.usd_by_role["slm"] + bill.usd_by_role["scorer"])
    assert bill.usd_llm_alone == pytest.approx((10 * 3 + 1000 * 6) / 1e6)
    assert bill.saved_ratio == pytest.approx(1 - bill.usd / bill.usd_llm_alone)


def test_a_request_without_a_complete_answer_has_a_bill_and_saved_nothing() -> None:
    usage = used(llm=TokenCounts(10, 0, 20), slm=TokenCounts(), scorer=TokenCounts(10))
    bill = cost(PLAN, usage, 10, is_comparable=False)
    assert 0 < bill.usd < bill.usd_llm_alone
    assert bill.saved_ratio is None


def test_where_the_large_model_has_answered_its_cost_alone_is_no_estimate() -> None:
    usage = used(llm=TokenCounts(16, 4, 300, 0, 50), slm=TokenCounts(), scorer=TokenCounts())
    bill = cost(PLAN, usage, 10, TokenCounts(6, 4, 300))
    assert bill.usd_llm_alone == pytest.approx((6 * 3 + 4 * 1 + 300 * 6) / 1e6)
    assert bill.tflops_llm_alone == pytest.approx(2 * 32e9 * 306 / 1e12)
    assert bill.llm_alone_is_exact
    assert bill.saved_ratio is not None
    assert bill.saved_ratio < 0  # an attempt was lost


def test_the_small_model_is_not_charged_for_an_insight_that_it_never_read() -> None:
    usage = used(llm=TokenCounts(10, 0, 300), slm=TokenCounts(), scorer=TokenCounts())
    assert cost(PLAN, usage, 10).tflops_paper == pytest.approx(2 * 32e9 * 300 / 1e12)


def test_the_worst_case_bounds_what_a_request_may_cost() -> None:
    usage = used(llm=TokenCounts(40, 0, 100), slm=TokenCounts(140, 0, 200), scorer=TokenCounts(140, 180))
    assert cost(PLAN, usage, 40).usd <= worst_case_usd(PLAN, 40, 100, 200)
