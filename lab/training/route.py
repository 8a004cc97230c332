"""A route of questions through the two models, and the least cost at which routes reach an accuracy.

Chances are integrals of normal distributions, not simulated. The cost of the large model alone is 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, log

import numpy as np
from scipy.special import ndtr, ndtri

from lab.training.table import Bools, Floats

_GRID = np.linspace(-6.0, 6.0, 241)
_MAX_DISTANCE = 40.0  # between two normal distributions: no score is between them


def distance(auroc: float) -> float:
    """Between the means of two normal distributions of variance 1 with this AUROC, 0..1 (the binormal model)."""
    return float(np.clip(np.sqrt(2) * ndtri(auroc), -_MAX_DISTANCE, _MAX_DISTANCE))


def by_score(means: Floats) -> Floats:
    """Thresholds of a score that is normal with variance 1 about `means`, float64[c]."""
    thresholds = np.unique(np.add.outer(np.unique(means), _GRID))[::-1, None]
    ends = np.zeros_like(means), np.ones_like(means)
    found: Floats = np.vstack([ends[0], ndtr(means - thresholds), ends[1]])
    return found


def by_check(passes: Floats) -> Floats:
    """Stop at what passes or at what fails; `passes` float64[c] is the chance to pass."""
    return np.array([np.zeros_like(passes), passes, 1 - passes, np.ones_like(passes)])


_SWEEPS = 4
_HALVINGS = 26
_ROUNDING = 1e-9
_WORTH = (log(1e-4), log(1e5))  # of an accuracy of 1, in costs of the large model


@dataclass(frozen=True)
class Cells:
    """Kinds of questions by who answers them. `share` float64[c], sums to 1; `large` bool[c]: the large model is right.

    `small` bool[K + 1, c]: the small model is right with the insight of stage 0 (none), 1, ..., K.
    """

    share: Floats
    small: Bools
    large: Bools


@dataclass(frozen=True)
class Step:
    """`right` bool[c]: the answer of a stop here. `options`: the stops that the evidence allows (by_score, by_check).

    Costs: `advance` is paid by every question that comes here, `look` for the evidence (nobody looks where it gains nothing),
    `stop` for the answer.
    """

    right: Bools
    options: Floats
    look: float
    stop: float
    advance: float = 0.0


@dataclass(frozen=True)
class Route:
    """Steps in their order; the large model answers what did not stop, at the cost `finish`."""

    steps: Sequence[Step]
    finish: float = 1.0


@dataclass(frozen=True, slots=True)
class Point:
    """Expected cost and accuracy of a question."""

    cost: float
    accuracy: float

    def mixed(self, other: Point, share: float) -> Point:
        """A random `share` of the questions goes the `other` way."""
        return Point(
            self.cost + share * (other.cost - self.cost), self.accuracy + share * (other.accuracy - self.accuracy)
        )


def best_stops(route: Route, cells: Cells, worth: float) -> Point:
    """The stops that maximise `worth` * accuracy - cost; each step's in turns, which a few sweeps settle."""
    stops = [np.zeros_like(cells.share) for _ in route.steps]
    for _ in range(_SWEEPS if len(stops) > 1 else 1):
        cost, right = np.full_like(cells.share, route.finish), cells.large.astype(float)
        reached = _reached(cells.share, stops)
        for index in reversed(range(len(stops))):
            step = route.steps[index]
            gain = reached[index] * (worth * (step.right - right) - (step.stop - cost))
            stops[index], look = _best_option(step, gain, float(reached[index].sum()))
            cost = step.advance + look + cost + stops[index] * (step.stop - cost)
            right = right + stops[index] * (step.right - right)
    return Point(float(cells.share @ cost), float(cells.share @ right))


def least_cost(point_at: Callable[[float], Point], accuracy: float) -> Point:
    """Of the policies that are best at some worth of accuracy, `point_at(worth)`, the cheapest with this accuracy.

    Where no single policy has it, a random share of the questions goes by a more accurate one: the least cost lies on the
    convex hull. The cost is 1 if the large model alone, which has this accuracy, is the cheapest.
    """
    low, high = _WORTH
    cheap, accurate = point_at(exp(low)), point_at(exp(high))
    if cheap.accuracy >= accuracy:
        return _no_dearer(cheap, accuracy)
    for _ in range(_HALVINGS):
        if accurate.accuracy - cheap.accuracy < _ROUNDING:
            break
        middle = (low + high) / 2
        found = point_at(exp(middle))
        if found.accuracy < accuracy:
            low, cheap = middle, found
        else:
            high, accurate = middle, found
    found = cheap.mixed(accurate, (accuracy - cheap.accuracy) / max(accurate.accuracy - cheap.accuracy, _ROUNDING))
    return _no_dearer(found, accuracy)


def _no_dearer(found: Point, accuracy: float) -> Point:
    """Than the large model alone."""
    return found if found.cost < 1 - _ROUNDING else Point(1.0, accuracy)


def _best_option(step: Step, gain: Floats, reached: float) -> tuple[Floats, float]:
    """Chance to stop of each cell, and the cost of looking; none of both where the stops gain less than the look costs."""
    gains = step.options @ gain
    best = int(gains.argmax())
    if gains[best] <= step.look * reached:
        return step.options[0], 0.0
    return step.options[best], step.look


def _reached(share: Floats, stops: Sequence[Floats]) -> list[Floats]:
    """Share of the questions that come to each step, by cell."""
    found = [share]
    for stop in stops:
        found.append(found[-1] * (1 - stop))
    return found
