"""What would make a pair pay: each figure changed by itself (docs/plan.md)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import log2

from tandem.planning.payoff import Pair, least

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
    """The smallest change of one lever with which the pair pays, from `now` to `then`; None: no change of it
    suffices.
    """

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
