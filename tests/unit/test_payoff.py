"""When a pair pays: exact cases, published figures, and the command."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from math import asin, pi
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

pytest.importorskip("scipy")

from lab.training.payoff import CORRELATION, PASS_RIGHT, PASS_WRONG, Pair, least_cost
from tandem.cli import app
from tandem.method.cost.cost import tflops_paper

ROOT = Path(__file__).parents[2]
RATIOS = (2, 3, 5, 10, 30)
# The project's analysis (docs/results.md, When a pair pays), made by simulation: (small, large) -> AUROC -> % at
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
LOW, HIGH = (44.76, 0.7874), (104.62, 0.8318)  # TFLOPs and accuracy of its fixed stages

shares = st.floats(0.05, 0.95)
pairs = st.builds(
    Pair,
    small=shares,
    large=shares,
    answer=st.floats(0.01, 1.0),
    auroc=st.floats(0.5, 0.98),
    checked=st.floats(0, 1),
)


@pytest.mark.parametrize(("small", "large", "auroc", "ratio", "percent"), CASES)
def test_the_least_cost_is_within_3_points_of_the_projects_analysis(
    small: float, large: float, auroc: float, ratio: int, percent: int
) -> None:
    assert 100 * least_cost(Pair(small, large, 1 / ratio, auroc)) == pytest.approx(percent, abs=3)


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
    assert 100 * least_cost(Pair(0.7714, 0.8090, SMALL_TFLOPS / LARGE_TFLOPS, 0.648)) == pytest.approx(59.2, abs=1)


def test_the_papers_fixed_stages_mixed_at_random_reach_its_large_models_accuracy_at_44_percent() -> None:
    (low, low_right), (high, high_right) = LOW, HIGH
    mixed = np.interp(0.8090, [low_right, high_right], [low / LARGE_TFLOPS, high / LARGE_TFLOPS])
    assert mixed == pytest.approx(0.44, abs=0.005)


@given(small=shares, gap=st.floats(0.01, 0.5), answer=st.floats(0.001, 1))
@settings(max_examples=25, deadline=None)
def test_without_a_score_or_a_check_a_less_accurate_model_saves_nothing(
    small: float, gap: float, answer: float
) -> None:
    assert least_cost(Pair(small, min(0.99, small + gap), answer)) == pytest.approx(1)


def test_a_small_model_that_is_as_accurate_answers_everything() -> None:
    assert least_cost(Pair(0.7, 0.7, 0.2)) == pytest.approx(0.2)


@given(small=shares, large=shares, answer=st.floats(0.01, 1))
@settings(max_examples=25, deadline=None)
def test_a_score_that_knows_the_small_model_reaches_the_oracle(small: float, large: float, answer: float) -> None:
    """It stops where the small model is right, and spends the gain in accuracy on random others."""
    pair = Pair(small, large, answer, 1.0)
    gain, loss = small - pair.both, large - pair.both
    others = min(1 - small, gain * (1 - small) / loss)
    assert least_cost(pair) == pytest.approx(min(1.0, answer + 1 - small - others), abs=1e-6)


def test_a_check_of_all_tasks_costs_less_than_to_send_on_every_failure() -> None:
    """That policy is more accurate than the large model alone; what it gains is spent on answers that fail."""
    pair = Pair(0.6, 0.7, 0.1, checked=1.0)
    every_failure = 0.1 + 1 - 0.6 * PASS_RIGHT - 0.4 * PASS_WRONG
    failures_that_stand = 1 - least_cost(replace(pair, checked=0.5))
    assert least_cost(pair) < every_failure
    assert 0 < failures_that_stand < 1 - least_cost(pair)


@pytest.mark.parametrize(
    "better",
    [
        lambda pair: replace(pair, small=min(0.99, pair.small + 0.05)),
        lambda pair: replace(pair, answer=pair.answer / 2),
        lambda pair: replace(pair, auroc=min(1.0, pair.auroc + 0.05)),
        lambda pair: replace(pair, checked=min(1.0, pair.checked + 0.1)),
    ],
    ids=["accuracy", "price", "auroc", "checks"],
)
@given(pair=pairs)
@settings(max_examples=25, deadline=None)
def test_nothing_that_is_better_of_a_pair_raises_its_cost(better, pair: Pair) -> None:  # type: ignore[no-untyped-def]
    assert least_cost(better(pair)) <= least_cost(pair) + 1e-4


@given(pair=pairs)
@settings(max_examples=25, deadline=None)
def test_no_pair_costs_more_than_the_large_model_or_less_than_the_small_one(pair: Pair) -> None:
    assert pair.answer - 1e-9 <= least_cost(pair) <= 1 + 1e-9


def test_both_right_is_the_bivariate_normal_integral() -> None:
    assert Pair(0.5, 0.5, 0.1).both == pytest.approx(0.25 + asin(CORRELATION) / (2 * pi), abs=1e-9)


def test_the_sessions_in_the_docs_are_what_the_command_prints() -> None:
    text = (ROOT / "docs/your-own-models.md").read_text()
    sessions = re.findall(r"^\$ tandem (plan .+)\n(.+)$", text, re.MULTILINE)
    assert sessions
    for command, output in sessions:
        assert CliRunner().invoke(app, command.split()).output.split() == output.split()


def test_json_has_the_cost_and_whether_it_pays() -> None:
    words = ["plan", "--small", "0.6", "--large", "0.7", "--price-ratio", "10", "--auroc", "0.8", "--json"]
    found = json.loads(CliRunner().invoke(app, words).output)
    assert found == {"cost": pytest.approx(least_cost(Pair(0.6, 0.7, 0.1, 0.8))), "pays": True}


@pytest.mark.parametrize(
    ("words", "option"),
    [
        ("--large 0.7 --price-ratio 10", "--small"),
        ("--small 77 --large 0.7 --price-ratio 10", "--small"),
        ("--small 0.6 --large 0.7", "--price-ratio"),
    ],
)
def test_an_error_names_the_option(words: str, option: str) -> None:
    result = CliRunner().invoke(app, ["plan", *words.split()])
    assert result.exit_code == 2
    assert option in result.output
