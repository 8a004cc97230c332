"""The forecast of `tandem plan`: what a pair would cost, how sure that is, and what would change it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import log2
from typing import Literal

import numpy as np

from lab.training.pair_sample import PairSample, drawn
from lab.training.payoff import Pair, check_all, least, payoff
from lab.training.route import Point
from services.sufficiency_scorer.artefact import Label

_MAX_ACCURACY = 0.999
_MAX_PRICE_RATIO = 1000.0
_HALVINGS = 16


@dataclass(frozen=True)
class Lever:
    """`changed(pair, amount)` is the pair after a change; `step` is the change that levers are compared by.

    `value` reads what is changed, as people say it; `limit` is the largest amount that makes sense.
    """

    name: str
    step_label: str
    step: float
    changed: Callable[[Pair, float], Pair]
    value: Callable[[Pair], float]
    limit: Callable[[Pair], float]


@dataclass(frozen=True)
class Effect:
    """`saving`: cost less after one step of the lever, as a share of the large model's."""

    lever: str
    change: str
    saving: float


@dataclass(frozen=True)
class Need:
    """The smallest change of one lever with which the pair pays, from `now` to `then`; None: no change of it suffices."""

    lever: str
    now: float
    then: float | None


def effects(pair: Pair) -> list[Effect]:
    """Of one step of each lever, the largest saving first."""
    now = least(pair)
    found = [Effect(lever.name, lever.step_label, now - least(lever.changed(pair, lever.step))) for lever in LEVERS]
    return sorted(found, key=lambda effect: -effect.saving)


def needs(pair: Pair, goal: float) -> list[Need]:
    """For a saving of `goal`, 0..1, of the large model's cost."""
    return [Need(lever.name, lever.value(pair), _needed(lever, pair, 1 - goal)) for lever in LEVERS]


def _needed(lever: Lever, pair: Pair, cost: float) -> float | None:
    low, high = 0.0, lever.limit(pair)
    if high <= 0 or least(lever.changed(pair, high)) > cost:
        return None
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if least(lever.changed(pair, middle)) <= cost else (middle, high)
    return lever.value(lever.changed(pair, high))


def _more_accurate(pair: Pair, amount: float) -> Pair:
    """The small model, at every stage."""
    stages = tuple(replace(stage, right=min(_MAX_ACCURACY, stage.right + amount)) for stage in pair.stages)
    return replace(pair, small=min(_MAX_ACCURACY, pair.small + amount), stages=stages)


def _better_scored(pair: Pair, amount: float) -> Pair:
    score, early = (replace(s, auroc=min(1.0, s.auroc + amount)) for s in (pair.score, pair.early))
    return replace(pair, score=score, early=early)


def _more_checked(pair: Pair, amount: float) -> Pair:
    return replace(pair, check=replace(pair.check, share=min(1.0, pair.check.share + amount)))


LEVERS = (
    Lever(
        "small model's accuracy",
        "+5 points",
        0.05,
        _more_accurate,
        lambda p: p.small,
        lambda p: _MAX_ACCURACY - p.small,
    ),
    Lever(
        "cost ratio",
        "x2",
        1.0,
        lambda p, doublings: p.cheaper(2**doublings),
        lambda p: 1 / p.answer,
        lambda p: log2(_MAX_PRICE_RATIO * p.answer),
    ),
    Lever("AUROC", "+0.05", 0.05, _better_scored, lambda p: p.score.auroc, lambda p: 1 - p.score.auroc),
    Lever("share with a check", "+10 points", 0.1, _more_checked, lambda p: p.check.share, lambda p: 1 - p.check.share),
)


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
    """`policies`: at the large model's accuracy, except CHECK_ALL, which may be more accurate; `best` is the cheapest of them.

    `pays`: "yes" if the best saves `goal` and its whole interval saves something; "unclear" if the interval holds both answers.
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
