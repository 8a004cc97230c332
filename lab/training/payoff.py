"""Does a pair pay? The least expected cost at the large model's accuracy, from a few figures (docs/plan.md).

Rightness of the two models is a bivariate normal distribution, cut at the two accuracies; a score is binormal. All costs are
shares of the cost of the large model's own answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtri

from lab.training.route import Cells, Point, Route, Step, best_stops, by_check, by_score, distance, least_cost
from lab.training.table import Bools, Floats
from services.sufficiency_scorer.artefact import Label

MAX_CORRELATION = 0.999
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(48)
_TINY = 1e-12


@dataclass(frozen=True)
class Check:
    """`share` of the tasks have it. It passes `pass_right` of the small model's right answers and `pass_wrong` of the wrong ones.

    The default rates are those of the shipped pair with the examples in HumanEval's questions (docs/plan.md).
    """

    share: float = 0.0
    pass_right: float = 0.97
    pass_wrong: float = 0.06


@dataclass(frozen=True)
class Score:
    """A score that is normal with variance 1 (binormal). `auroc` predicts whether the small model is right; 0.5: there is no score.

    `large_auroc` predicts the same of the large model, among questions that are alike for the small one. Above 0.5 the score
    also finds the questions that are easy for both, whose stop gains no accuracy. With `label` "nothing_lost", `auroc` predicts that
    the small model is right or the large one is wrong, and `large_auroc` has no meaning.
    """

    auroc: float = 0.5
    large_auroc: float = 0.5
    label: Label = "right"

    def means(self, small: Bools, large: Bools) -> Floats:
        """Of the score, for questions that the models answer right as `small` and `large`, bool[c], say."""
        predicted = small | ~large if self.label == "nothing_lost" else small
        other = np.zeros_like(large) if self.label == "nothing_lost" else large
        found: Floats = distance(self.auroc) * predicted + distance(self.large_auroc) * other
        return found


@dataclass(frozen=True)
class StageFigures:
    """`insight`: cost of the large model's text up to here; `right`: the small model's accuracy with it, at the cost `answer`."""

    insight: float
    right: float
    answer: float


@dataclass(frozen=True)
class Pair:
    """Accuracies `small` and `large`; `correlation` of the latent variables behind them; `answer`: cost of the small answer.

    `score` is of the small model's answer, which is free; `early` of what is known before it answers, at the cost `scoring`.
    `trial`: cost of the small model's answer and of judging it; None: of the answer alone.
    """

    small: float
    large: float
    answer: float
    correlation: float = 0.6
    score: Score = Score()
    early: Score = Score()
    check: Check = Check()
    scoring: float = 0.0
    trial: float | None = None
    stages: tuple[StageFigures, ...] = ()

    @property
    def both(self) -> float:
        """Share of the questions that both models answer right."""
        return float(both_right(np.array([self.small]), self.large, self.correlation)[0])

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

    @property
    def cells(self) -> Cells:
        """A question that the small model answers with less insight it also answers with a more helpful one."""
        accuracies = [self.small, *(stage.right for stage in self.stages)]
        edges = np.unique([0.0, *accuracies, 1.0])
        by_both = np.diff(both_right(edges, self.large, self.correlation))
        share = np.concatenate([by_both, np.diff(edges) - by_both]).clip(0.0)
        small = np.array([np.tile(edges[1:] <= accuracy, 2) for accuracy in accuracies])
        return Cells(share, small, np.arange(len(share)) < len(by_both))


def both_right(small: Floats, large: float, correlation: float) -> Floats:
    """P(both right) of two accuracies: the bivariate normal integral over the correlation, by its arc sine (Plackett 1954)."""
    h, k = ndtri(np.clip(small, _TINY, 1 - _TINY))[:, None], ndtri(np.clip(large, _TINY, 1 - _TINY))
    end = np.arcsin(correlation)
    angle = end / 2 * (_NODES + 1)
    density = np.exp(-(h * h + k * k - 2 * h * k * np.sin(angle)) / (2 * np.cos(angle) ** 2)) / (2 * np.pi)
    joint = small * large + end / 2 * density @ _WEIGHTS
    found: Floats = np.clip(joint, np.maximum(0.0, small + large - 1), np.minimum(small, large))
    return found


def correlation_of(small: float, large: float, both: float) -> float:
    """The tetrachoric correlation that gives `both`, within +-MAX_CORRELATION."""

    def excess(correlation: float) -> float:
        return float(both_right(np.array([small]), large, correlation)[0]) - both

    if excess(MAX_CORRELATION) <= 0:
        return MAX_CORRELATION
    if excess(-MAX_CORRELATION) >= 0:
        return -MAX_CORRELATION
    return float(brentq(excess, -MAX_CORRELATION, MAX_CORRELATION, xtol=1e-6))


def payoff(pair: Pair) -> dict[str, Point]:
    """The least expected cost at the large model's accuracy, by policy; 1 where the large model alone is the cheapest."""
    return {name: least_cost(at, pair.large) for name, at in _policies(pair).items()}


def least(pair: Pair) -> float:
    """Cost of the cheapest policy."""
    return min(point.cost for point in payoff(pair).values())


def check_all(pair: Pair) -> Point:
    """The plain policy: what passes is the small model's answer; the large one answers what fails, and what has no check.

    It does not trade its gain in accuracy for cost.
    """
    cells = pair.cells
    stops = _passes(pair, cells)
    right = np.where(cells.small[0], stops + (1 - stops) * cells.large, (1 - stops) * cells.large)
    tried = Point(pair.trial_cost + 1 - float(cells.share @ stops), float(cells.share @ right))
    return Point(1.0, pair.large).mixed(tried, pair.check.share)


def _policies(pair: Pair) -> Mapping[str, Callable[[float], Point]]:
    cells, alone, trial = pair.cells, Point(1.0, pair.large), pair.trial_cost
    right = cells.small[0]
    answered = Route([Step(right, by_score(pair.score.means(right, cells.large)), trial, 0.0)])
    checked = Route([Step(right, by_check(_passes(pair, cells)), trial, 0.0)])
    asked = Route([Step(right, by_score(pair.early.means(right, cells.large)), pair.scoring, pair.answer)])

    def along(worth: float, *routes: Route) -> Point:
        points = [alone, *(best_stops(route, cells, worth) for route in routes)]
        return max(points, key=lambda point: worth * point.accuracy - point.cost)

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
    """The paper's stop, with stage 0 before it: each stage is scored, and a stop has the small model answer from its insight."""
    steps, before = [*asked.steps], 0.0
    for stage, right in zip(pair.stages, cells.small[1:], strict=True):
        options = by_score(pair.early.means(right, cells.large))
        steps.append(Step(right, options, pair.scoring, stage.answer, stage.insight - before))
        before = stage.insight
    return Route(steps, max(0.0, 1 - before))


def _passes(pair: Pair, cells: Cells) -> Floats:
    """Chance of each kind of question that the small model's answer passes the check."""
    return np.where(cells.small[0], pair.check.pass_right, pair.check.pass_wrong)
