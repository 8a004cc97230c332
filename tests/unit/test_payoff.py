"""When a pair pays: exact cases, published figures, and what each lever does."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import asin, pi, sqrt
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.method.cost.cost import tflops_paper
from tandem.planning.levers import LEVERS, effects, needs
from tandem.planning.payoff import (
    CheckFigures,
    Pair,
    Score,
    StageFigures,
    both_right,
    check_all,
    correlation_of,
    least,
    payoff,
)
from tandem.planning.route import ByScore, dot

normal = NormalDist().cdf
RATIOS = (2, 3, 5, 10, 30)
# The project's analysis (docs/simulations.md, When a pair pays), made by simulation: (small, large) -> AUROC -> % at
# each ratio.
TABLE = {
    (0.28, 0.66): {0.8: (100, 100, 100, 100, 100), 0.95: (100, 100, 96, 86, 79)},
    (0.55, 0.67): {0.7: (100, 99, 88, 76, 69), 0.8: (92, 76, 63, 53, 47), 0.95: (77, 61, 47, 37, 31)},
    (0.77, 0.81): {0.6: (100, 93, 82, 75, 63), 0.7: (74, 58, 45, 36, 28), 0.8: (62, 46, 34, 23, 17)},
    (0.70, 0.90): {0.8: (100, 100, 100, 91, 86), 0.95: (88, 70, 57, 47, 41)},
}
CASES = [
    (*pair, auroc, ratio, cost)
    for pair, by_auroc in TABLE.items()
    for auroc, costs in by_auroc.items()
    for ratio, cost in zip(RATIOS, costs, strict=True)
]

# The paper's pair on MATH (arXiv 2604.23623; docs/paper.md, Published figures).
LARGE_TFLOPS, SMALL_TFLOPS, TANDEM_TFLOPS = 168.35, 38.25, 99.72
FIXED = ((2735, 44.76, 0.7874), (2853, 71.96, 0.8036), (2930, 104.62, 0.8318))  # tokens, TFLOPs, accuracy


def paper_pair(auroc: float = 0.5) -> Pair:
    stages = []
    for tokens, tflops, right in FIXED:
        llm_tokens = (tflops * 1e12 / 2 - 7e9 * tokens) / 32e9  # by the paper's formula
        insight = 2 * 32e9 * llm_tokens / 1e12
        stages.append(StageFigures(insight / LARGE_TFLOPS, right, (tflops - insight) / LARGE_TFLOPS))
    score = Score(auroc)
    return Pair(0.7714, 0.8090, SMALL_TFLOPS / LARGE_TFLOPS, score=score, early=score, stages=tuple(stages))


shares = st.floats(0.05, 0.95)
pairs = st.builds(
    Pair,
    small=shares,
    large=shares,
    answer=st.floats(0.01, 1.0),
    correlation=st.floats(-0.3, 0.9),
    score=st.builds(Score, auroc=st.floats(0.5, 0.98), large_auroc=st.floats(0.45, 0.65)),
    early=st.builds(Score, auroc=st.floats(0.5, 0.98)),
    check=st.builds(CheckFigures, share=st.floats(0, 1), pass_right=st.floats(0.6, 1), pass_wrong=st.floats(0, 0.4)),
    scoring=st.floats(0, 0.1),
)


def cascade(pair: Pair) -> float:
    return payoff(pair)["cascade"].cost


@pytest.mark.parametrize(("small", "large", "auroc", "ratio", "percent"), CASES)
def test_the_least_cost_is_within_3_points_of_the_projects_analysis(
    small: float, large: float, auroc: float, ratio: int, percent: int
) -> None:
    assert 100 * cascade(Pair(small, large, 1 / ratio, score=Score(auroc))) == pytest.approx(percent, abs=3)


def test_the_papers_token_counts_give_its_59_percent_by_its_formula() -> None:
    """In: parameters, mean tokens of the large model (920) and of both together (2916), of the large model alone
    (2630).
    """
    cost = tflops_paper(32e9, 920, 7e9, 2916 - 920)
    assert cost == pytest.approx(TANDEM_TFLOPS, rel=0.005)
    assert 100 * cost / tflops_paper(32e9, 2630, 0, 0) == pytest.approx(59.2, abs=0.3)


def test_the_papers_accuracies_give_its_59_percent_with_an_auroc_of_065() -> None:
    """In: 77.14 and 80.90 % right, cost of the 7B model alone. The paper publishes no AUROC: 0.65 is what 59.2 %
    needs.
    """
    assert 100 * cascade(paper_pair(0.648)) == pytest.approx(59.2, abs=1)


def test_mixing_the_papers_fixed_stages_needs_no_score_at_all() -> None:
    """In: the rows of the fixed stages. Without a score the staged stop costs what the line from low to high does at
    80.90 %.
    """
    (_, low, low_right), _, (_, high, high_right) = FIXED
    mixed = np.interp(0.8090, [low_right, high_right], [low / LARGE_TFLOPS, high / LARGE_TFLOPS])
    assert payoff(paper_pair())["staged"].cost == pytest.approx(mixed, abs=1e-3)
    assert payoff(paper_pair(0.65))["staged"].cost < mixed


@given(small=shares, gap=st.floats(0.01, 0.5), correlation=st.floats(-0.9, 0.9))
@settings(max_examples=25, deadline=None)
def test_without_a_score_and_at_equal_prices_nothing_is_saved(small: float, gap: float, correlation: float) -> None:
    assert least(Pair(small, min(0.99, small + gap), 1.0, correlation)) == 1


def test_without_a_score_no_price_saves_anything() -> None:
    assert least(Pair(0.6, 0.7, 0.001)) == 1


@given(small=shares, large=shares, answer=st.floats(0.01, 1), correlation=st.floats(-0.9, 0.95))
@settings(max_examples=25, deadline=None)
def test_a_score_that_knows_the_small_model_reaches_the_oracle(
    small: float, large: float, answer: float, correlation: float
) -> None:
    """It stops where the small model is right, and spends the gain in accuracy on random others."""
    pair = Pair(small, large, answer, correlation, score=Score(1.0))
    gain, loss = small - pair.both, large - pair.both
    others = min(1 - small, gain * (1 - small) / loss) if loss > 0 else 1 - small
    assert cascade(pair) == pytest.approx(min(1.0, answer + 1 - small - others), abs=1e-6)


@given(small=shares, gap=st.floats(0.01, 0.5), answer=st.floats(0.01, 1))
@settings(max_examples=25, deadline=None)
def test_a_score_that_knows_what_is_lost_sends_on_the_gap_in_accuracy(small: float, gap: float, answer: float) -> None:
    large = min(0.99, small + gap)
    pair = Pair(small, large, answer, score=Score(1.0, label="nothing_lost"))
    assert cascade(pair) == pytest.approx(min(1.0, answer + large - small), abs=1e-6)


def test_a_perfect_check_sends_on_what_the_small_model_gets_wrong() -> None:
    pair = Pair(0.6, 0.7, 0.1, check=CheckFigures(1.0, 1.0, 0.0))
    plain = check_all(pair)
    assert plain.cost == pytest.approx(0.1 + 0.4)
    assert plain.accuracy == pytest.approx(0.6 + 0.7 - pair.both)
    assert payoff(pair)["check"].cost < plain.cost
    assert payoff(pair)["check"].accuracy == pytest.approx(0.7)


def test_a_trial_costs_what_judging_it_adds() -> None:
    pair = Pair(0.6, 0.7, 0.1, check=CheckFigures(1.0))
    assert check_all(replace(pair, trial=0.3)).cost == pytest.approx(check_all(pair).cost + 0.2)


@pytest.mark.parametrize("lever", LEVERS, ids=lambda lever: lever.name)
@given(pair=pairs)
@settings(max_examples=25, deadline=None)
def test_no_lever_raises_the_cost(lever, pair: Pair) -> None:  # type: ignore[no-untyped-def]
    assert least(lever.changed(pair, lever.step)) <= least(pair) + 1e-4


@given(pair=pairs)
@settings(max_examples=25, deadline=None)
def test_no_policy_costs_more_than_the_large_model_or_is_less_accurate(pair: Pair) -> None:
    for point in payoff(pair).values():
        assert 0 < point.cost <= 1
        assert point.accuracy >= pair.large - 1e-6


def test_a_score_that_also_knows_the_large_model_saves_less() -> None:
    pair = Pair(0.51, 0.67, 0.1, score=Score(0.75))
    assert cascade(replace(pair, score=Score(0.75, 0.58))) > cascade(pair) + 0.1


def test_levers_are_sorted_and_each_need_is_the_smallest_change() -> None:
    pair = Pair(0.5, 0.67, 0.3, score=Score(0.7))
    assert least(pair) == 1
    savings = [effect.saving for effect in effects(replace(pair, answer=0.1))]
    assert savings == sorted(savings, reverse=True)
    assert savings[0] > 0
    found = {need.lever: need for need in needs(pair, goal=0.05)}
    assert found["AUROC"].then is not None
    assert least(replace(pair, score=Score(found["AUROC"].then))) == pytest.approx(0.95, abs=1e-3)
    assert found["share with a check"].then is not None
    assert least(replace(pair, check=CheckFigures(found["share with a check"].then - 0.01))) > 0.95
    assert {need.then for need in needs(Pair(0.01, 0.99, 0.5), goal=0.5) if need.lever == "cost ratio"} == {None}


def test_both_right_is_the_bivariate_normal_integral() -> None:
    for correlation in (-0.9, 0.0, 0.5, 0.99):
        assert both_right(0.5, 0.5, correlation) == pytest.approx(0.25 + asin(correlation) / (2 * pi), abs=1e-9)
        assert correlation_of(0.5, 0.5, both_right(0.5, 0.5, correlation)) == pytest.approx(correlation, abs=1e-4)
    assert [both_right(small, 0.7, 0.0) for small in (0.0, 0.3, 1.0)] == pytest.approx([0, 0.21, 0.7], abs=1e-9)
    assert correlation_of(0.3, 0.7, 0.3) > 0.99
    assert correlation_of(0.3, 0.7, 0.0) < -0.99


def test_the_staged_stop_finds_the_best_of_all_thresholds() -> None:
    """Against all pairs of 60 thresholds, mixed at random as the solver may."""
    stage = StageFigures(0.2, 0.7, 0.1)
    pair = Pair(0.5, 0.75, 0.15, early=Score(0.8), scoring=0.01, stages=(stage,))
    cells, shift = pair.cells, sqrt(2) * 0.8416212335729143  # the 80 % quantile
    points = [(1.0, 0.75)]
    for first, second in product(np.linspace(-4, 6, 60), repeat=2):
        stop, later = (
            np.array([normal(shift * is_right - at) for is_right in right])
            for at, right in zip((first, second), cells.small, strict=True)
        )
        rest = 1 - stop
        cost = 0.01 + stop * 0.15 + rest * (0.21 + later * 0.1 + (1 - later) * 0.8)
        right = stop * np.array(cells.small[0]) + rest * (later * cells.small[1] + (1 - later) * np.array(cells.large))
        points.append((dot(cells.share, list(cost)), dot(cells.share, list(right))))
    exact = min(cost for cost, right in points if right >= 0.75)
    assert payoff(pair)["staged"].cost == pytest.approx(exact, abs=0.01)
    assert payoff(pair)["staged"].cost <= exact


@given(
    means=st.lists(st.floats(-2, 4), min_size=1, max_size=4),
    gains=st.lists(st.floats(-1, 1), min_size=4, max_size=4),
)
@settings(max_examples=200, deadline=None)
def test_no_threshold_stops_better_than_the_one_that_is_found(means: list[float], gains: list[float]) -> None:
    gain, chances = ByScore(means).best(gains[: len(means)])
    assert gain == pytest.approx(dot(chances, gains), abs=1e-9)
    for threshold in np.linspace(-10, 12, 221):
        assert gain >= dot([normal(mean - threshold) for mean in means], gains) - 1e-6
