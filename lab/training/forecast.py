"""The forecast of `tandem plan`: what a pair would cost, how sure that is, and what would change it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lab.training.pair_sample import PairSample, drawn
from tandem.planning.levers import Effect, Need, effects, needs
from tandem.planning.payoff import Label, Pair, check_all, payoff
from tandem.planning.route import Point

Answer = Literal["yes", "no", "unclear"]
Draw = Callable[[np.random.Generator], Pair]
"""The figures of a resample."""
CHECK_ALL = "check_all"
_RESAMPLES = 300


@dataclass(frozen=True)
class Estimate:
    """`interval`: 95 %; None where no number of questions is known."""

    value: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class PolicyForecast:
    """`cost` relative to the large model alone."""

    name: str
    cost: Estimate
    accuracy: float


@dataclass(frozen=True)
class Forecast:
    """`policies`: at the large model's accuracy, except CHECK_ALL, which may be more accurate; `best` is the cheapest
    of them.

    `pays`: "yes" if the best saves `goal` and its whole interval saves something; "unclear" if the interval holds both
    answers.
    """

    pair: Pair
    n: int | None
    goal: float
    figures: dict[str, Estimate]
    policies: list[PolicyForecast]
    best: PolicyForecast
    pays: Answer
    effects: list[Effect]
    needs: list[Need]


def forecast(pair: Pair, goal: float, n: int | None = None, draw: Draw | None = None, seed: int = 0) -> Forecast:
    """`draw` gives the figures of a resample of the n questions; without it there are no intervals."""
    generator = np.random.default_rng(seed)
    pairs = [] if draw is None else [draw(generator) for _ in range(_RESAMPLES)]
    resampled = [_points(each) for each in pairs]
    policies = [
        PolicyForecast(name, _estimate(point.cost, [points[name].cost for points in resampled]), point.accuracy)
        for name, point in _points(pair).items()
    ]
    best = min((policy for policy in policies if policy.name != CHECK_ALL), key=lambda policy: policy.cost.value)
    figures = [each.figures for each in pairs]
    return Forecast(
        pair=pair,
        n=n,
        goal=goal,
        figures={name: _estimate(value, [each[name] for each in figures]) for name, value in pair.figures.items()},
        policies=policies,
        best=best,
        pays=answer(best.cost, goal),
        effects=effects(pair),
        needs=needs(pair, goal) if best.cost.value > 1 - goal else [],
    )


def resampling(sample: PairSample, label: Label, adjust: Callable[[Pair], Pair]) -> Draw:
    """Of the questions of `sample`; `adjust` puts in the figures that the sample does not tell."""
    n = len(sample)
    return lambda generator: adjust(sample.take(generator.integers(0, n, n)).measured(label))


def redrawing(pair: Pair, n: int, adjust: Callable[[Pair], Pair]) -> Draw:
    """As if `pair` had been measured on n questions; `adjust` puts in the figures that were not measured."""
    return lambda generator: adjust(drawn(pair, n, generator).measured(pair.score.label))


def answer(cost: Estimate, goal: float) -> Answer:
    enough = cost.value <= 1 - goal
    if cost.interval is None:
        return "yes" if enough else "no"
    low, high = cost.interval
    if enough:
        return "yes" if high < 1 else "unclear"
    return "unclear" if low <= 1 - goal else "no"


def _points(pair: Pair) -> dict[str, Point]:
    """Of all policies that the pair has the figures for; CHECK_ALL last."""
    return {**payoff(pair), **({CHECK_ALL: check_all(pair)} if pair.check.share else {})}


def _estimate(value: float, resampled: list[float]) -> Estimate:
    if not resampled:
        return Estimate(value, None)
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Estimate(value, (float(low), float(high)))
