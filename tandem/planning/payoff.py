"""Does a pair pay? The least expected cost at the large model's accuracy, from a few figures (docs/plan.md).

Rightness of the two models is a bivariate normal distribution, cut at the two accuracies; a score is binormal. All
costs are shares of the cost of the large model's own answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import pairwise
from math import asin, cos, exp, pi, sin
from statistics import NormalDist
from typing import Literal

from tandem.planning.route import (
    ByCheck,
    ByScore,
    Cells,
    Column,
    Gate,
    Point,
    Route,
    best_stops,
    distance,
    dot,
    least_cost,
)

Label = Literal["nothing_lost", "right"]
"""The event whose probability a score estimates. `right` (the paper's): the small model, stopped here, answers right.
`nothing_lost`: it does, or the large model alone does not either, so that continuing gains nothing."""
USUAL_CORRELATION = 0.6
MAX_CORRELATION = 0.999
_TINY = 1e-12
_HALVINGS = 40


@dataclass(frozen=True)
class CheckFigures:
    """`share` of the tasks have a check. It passes `pass_right` of the small model's right answers and `pass_wrong` of
    the wrong ones.

    The default rates are those of the shipped pair with the examples in HumanEval's questions (docs/plan.md).
    """

    share: float = 0.0
    pass_right: float = 0.97
    pass_wrong: float = 0.06

    def passes(self, is_right: bool) -> float:
        return self.pass_right if is_right else self.pass_wrong


@dataclass(frozen=True)
class Score:
    """A score that is normal with variance 1 (binormal). `auroc` predicts whether the small model is right; 0.5: there
    is no score.

    `large_auroc` predicts the same of the large model, among questions that are alike for the small one. Above 0.5 the
    score also finds the questions that are easy for both, whose stop gains no accuracy. With `label` "nothing_lost",
    `auroc` predicts that the small model is right or the large one is wrong, and `large_auroc` has no meaning.
    """

    auroc: float = 0.5
    large_auroc: float = 0.5
    label: Label = "right"

    def mean(self, small: bool, large: bool) -> float:
        """Of the score, for questions that the models answer right as `small` and `large` say."""
        if self.label == "nothing_lost":
            return distance(self.auroc) * (small or not large)
        return distance(self.auroc) * small + distance(self.large_auroc) * large


@dataclass(frozen=True)
class StageFigures:
    """`insight`: cost of the large model's text up to here; `right`: the small model's accuracy with it, at the cost
    `answer`.
    """

    insight: float
    right: float
    answer: float


@dataclass(frozen=True)
class Pair:
    """Accuracies `small` and `large`; `correlation` of the latent variables behind them; `answer`: cost of the small
    answer.

    `score` is of the small model's answer, which is free; `early` of what is known before it answers, at the cost
    `scoring`.
    `trial`: cost of the small model's answer and of judging it; None: of the answer alone.
    """

    small: float
    large: float
    answer: float
    correlation: float = USUAL_CORRELATION
    score: Score = Score()
    early: Score = Score()
    check: CheckFigures = CheckFigures()
    scoring: float = 0.0
    trial: float | None = None
    stages: tuple[StageFigures, ...] = ()

    @property
    def both(self) -> float:
        """Share of the questions that both models answer right."""
        return both_right(self.small, self.large, self.correlation)

    @property
    def figures(self) -> dict[str, float]:
        """By the names of `tandem plan --json`."""
        return {
            "small": self.small,
            "large": self.large,
            "both": self.both,
            "correlation": self.correlation,
            "answer_cost": self.answer,
            "trial_cost": self.trial_cost,
            "scoring_cost": self.scoring,
            "auroc": self.score.auroc,
            "auroc_large": self.score.large_auroc,
            "early_auroc": self.early.auroc,
            "early_auroc_large": self.early.large_auroc,
            "check_share": self.check.share,
            "check_pass_right": self.check.pass_right,
            "check_pass_wrong": self.check.pass_wrong,
        }

    @property
    def trial_cost(self) -> float:
        """Of one answer of the small model, judged."""
        return self.answer if self.trial is None else self.trial

    def cheaper(self, factor: float) -> Pair:
        """All that the small model does costs 1 / `factor` of what it did."""
        return replace(
            self,
            answer=self.answer / factor,
            scoring=self.scoring / factor,
            trial=None if self.trial is None else self.trial / factor,
            stages=tuple(replace(stage, answer=stage.answer / factor) for stage in self.stages),
        )

    @cached_property
    def cells(self) -> Cells:
        """A question that the small model answers with less insight it also answers with a more helpful one."""
        accuracies = [self.small, *(stage.right for stage in self.stages)]
        edges = sorted({0.0, *accuracies, 1.0})
        joint = [both_right(edge, self.large, self.correlation) for edge in edges]
        widths = [high - low for low, high in pairwise(edges)]
        by_both = [high - low for low, high in pairwise(joint)]
        share = [max(0.0, each) for each in (*by_both, *(w - b for w, b in zip(widths, by_both, strict=True)))]
        small = [[edge <= accuracy for edge in edges[1:]] * 2 for accuracy in accuracies]
        return Cells(share, small, [True] * len(widths) + [False] * len(widths))


def both_right(small: float, large: float, correlation: float) -> float:
    """P(both right) of two accuracies: the bivariate normal integral over the correlation, by its arc sine (Plackett
    1954).
    """
    h, k = (NormalDist().inv_cdf(min(1 - _TINY, max(_TINY, share))) for share in (small, large))
    end = asin(correlation)
    joint = small * large
    for node, weight in _legendre(48):
        angle = end / 2 * (node + 1)
        exponent = -(h * h + k * k - 2 * h * k * sin(angle)) / (2 * cos(angle) ** 2)
        joint += end / 2 * weight * exp(exponent) / (2 * pi)
    low, high = bounds(small, large)
    return min(high, max(low, joint))


def bounds(small: float, large: float) -> tuple[float, float]:
    """Range of the share of the questions that both models answer right."""
    return max(0.0, small + large - 1), min(small, large)


def correlation_of(small: float, large: float, both: float) -> float:
    """The tetrachoric correlation that gives `both`, within +-MAX_CORRELATION."""
    low, high = -MAX_CORRELATION, MAX_CORRELATION
    if both_right(small, large, high) <= both:
        return high
    if both_right(small, large, low) >= both:
        return low
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if both_right(small, large, middle) < both else (low, middle)
    return (low + high) / 2


@cache
def _legendre(count: int) -> list[tuple[float, float]]:
    """(node, weight) of the Gauss-Legendre rule on [-1, 1], by Newton's method."""
    return [_node(count, cos(pi * (index + 0.75) / (count + 0.5))) for index in range(count)]


def _node(count: int, near: float) -> tuple[float, float]:
    node, slope = near, 1.0
    for _ in range(20):
        before, value = 1.0, node
        for degree in range(2, count + 1):
            before, value = value, ((2 * degree - 1) * node * value - (degree - 1) * before) / degree
        slope = count * (node * value - before) / (node * node - 1)
        node -= value / slope
    return node, 2 / ((1 - node * node) * slope * slope)


def payoff(pair: Pair) -> dict[str, Point]:
    """The least expected cost at the large model's accuracy, by policy; 1 where the large model alone is the
    cheapest.
    """
    return {name: least_cost(at, pair.large) for name, at in _policies(pair).items()}


def least(pair: Pair) -> float:
    """Cost of the cheapest policy."""
    return min(point.cost for point in payoff(pair).values())


def check_all(pair: Pair) -> Point:
    """The plain policy: what passes is the small model's answer; the large one answers what fails, and what has no
    check.

    It does not trade its gain in accuracy for cost.
    """
    cells, stops = pair.cells, _passes(pair)
    answers = zip(stops, cells.small[0], cells.large, strict=True)
    right = [stop + (1 - stop) * large if small else (1 - stop) * large for stop, small, large in answers]
    tried = Point(pair.trial_cost + 1 - dot(cells.share, stops), dot(cells.share, right))
    return Point(1.0, pair.large).mixed(tried, pair.check.share)


def _policies(pair: Pair) -> Mapping[str, Callable[[float], Point]]:
    cells, alone, trial = pair.cells, Point(1.0, pair.large), pair.trial_cost
    right = cells.small[0]
    answered = Route([Gate(right, _scored(pair.score, cells, 0), trial, 0.0)])
    checked = Route([Gate(right, ByCheck(_passes(pair)), trial, 0.0)])
    asked = Route([Gate(right, _scored(pair.early, cells, 0), pair.scoring, pair.answer)])

    def along(worth: float, *routes: Route) -> Point:
        points = [alone, *(best_stops(route, cells, worth) for route in routes)]
        return max(points, key=lambda point: point.value(worth))

    def with_check(worth: float) -> Point:
        without = along(worth, answered)
        return without.mixed(along(worth, answered, checked), pair.check.share)

    found: dict[str, Callable[[float], Point]] = {
        "cascade": lambda worth: along(worth, answered),
        "router": lambda worth: along(worth, asked),
    }
    if pair.stages:
        staged = _staged(pair, cells, asked)
        found["staged"] = lambda worth: along(worth, staged)
    if pair.check.share:
        found["check"] = with_check
    return found


def _staged(pair: Pair, cells: Cells, asked: Route) -> Route:
    """The paper's stop, with stage 0 before it: each stage is scored, and a stop has the small model answer from its
    insight.
    """
    gates, before = [*asked.gates], 0.0
    for number, stage in enumerate(pair.stages, 1):
        evidence = _scored(pair.early, cells, number)
        gates.append(Gate(cells.small[number], evidence, pair.scoring, stage.answer, stage.insight - before))
        before = stage.insight
    return Route(gates, max(0.0, 1 - before))


def _scored(score: Score, cells: Cells, stage: int) -> ByScore:
    return ByScore([score.mean(small, large) for small, large in zip(cells.small[stage], cells.large, strict=True)])


def _passes(pair: Pair) -> Column:
    """Chance of each kind of question that the small model's answer passes the check."""
    return [pair.check.passes(small) for small in pair.cells.small[0]]
