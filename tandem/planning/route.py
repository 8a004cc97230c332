"""A route of questions through the two models, and the least cost at which routes reach an accuracy.

Chances are integrals of normal distributions, not simulated. The cost of the large model alone is 1. Nothing but the
standard
library: `tandem plan` and the page ask the same functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import erfc, exp, log, sqrt
from operator import mul
from statistics import NormalDist
from typing import Protocol

Column = Sequence[float]
"""One value for each kind of questions."""

_MAX_DISTANCE = 40.0  # between two normal distributions: no score is between them
_REACH = 9.0  # of a normal distribution: beyond this nothing is left
_HALVINGS = 30
_SWEEPS = 4
_CHORDS = 40
_ROUNDING = 1e-9
_WORTH = (1e-4, 1e5)  # of an accuracy of 1, in costs of the large model


def distance(auroc: float) -> float:
    """Between the means of two normal distributions of variance 1 with this AUROC, 0..1 (the binormal model)."""
    if not 0 < auroc < 1:
        return _MAX_DISTANCE if auroc >= 1 else -_MAX_DISTANCE
    return max(-_MAX_DISTANCE, min(_MAX_DISTANCE, sqrt(2) * NormalDist().inv_cdf(auroc)))


def dot(one: Column, other: Column) -> float:
    total: float = sum(map(mul, one, other))
    return total


class Evidence(Protocol):
    """What is known of a question when it may be stopped."""

    def best(self, gains: Column) -> tuple[float, Column]:
        """The stop that gains most, where to stop all of a kind gains `gains`: its gain, and the chance to stop by
        kind.
        """
        ...


@dataclass(frozen=True)
class ByCheck:
    """Stop at what passes or at what fails; `passes` is the chance to pass."""

    passes: Column

    def best(self, gains: Column) -> tuple[float, Column]:
        every = [1.0 for _ in self.passes]
        options = [[0.0 for _ in self.passes], self.passes, [1 - chance for chance in self.passes], every]
        return max(((dot(option, gains), option) for option in options), key=lambda found: found[0])


@dataclass(frozen=True)
class ByScore:
    """Stop above a threshold of a score that is normal with variance 1 about `means`."""

    means: Column

    def best(self, gains: Column) -> tuple[float, Column]:
        by_mean = dict.fromkeys(sorted(self.means), 0.0)
        for mean, gain in zip(self.means, gains, strict=True):
            by_mean[mean] += gain
        found: tuple[float, float | None] = (0.0, None)  # no threshold: nothing stops
        for threshold in (min(by_mean) - _REACH, *_turns(by_mean)):
            total = sum(gain * _above(mean - threshold) for mean, gain in by_mean.items())
            found = max(found, (total, threshold), key=lambda each: each[0])
        total, at = found
        return total, [0.0 if at is None else _above(mean - at) for mean in self.means]


def _above(margin: float) -> float:
    return 0.5 * erfc(-margin / sqrt(2))


def _turns(by_mean: dict[float, float]) -> list[float]:
    """Thresholds at which the sum of gain * P(score > threshold) may be largest: where the densities cancel."""
    ends = min(by_mean) - _REACH, max(by_mean) + _REACH
    return _roots([(mean, mean * mean / 2, gain) for mean, gain in by_mean.items() if gain], ends)


def _roots(terms: list[tuple[float, float, float]], ends: tuple[float, float]) -> list[float]:
    """Of the sum of factor * exp(rate * t - offset), rates ascending: between the roots of its derivative it is
    monotone.
    """
    if len(terms) < 2:
        return []
    (lowest, offset, factor), *rest = terms
    if len(terms) == 2:
        rate, other_offset, other = rest[0]
        return [(log(-factor / other) + other_offset - offset) / (rate - lowest)] if factor * other < 0 else []
    turns = _roots([(rate, off, (rate - lowest) * each) for rate, off, each in rest], ends)
    edges = [ends[0], *(turn for turn in turns if ends[0] < turn < ends[1]), ends[1]]
    return [
        _root(terms, low, high)
        for low, high in pairwise(edges)
        if _is_positive(terms, low) != _is_positive(terms, high)
    ]


def _root(terms: list[tuple[float, float, float]], low: float, high: float) -> float:
    begins = _is_positive(terms, low)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _is_positive(terms, middle) == begins else (low, middle)
    return (low + high) / 2


def _is_positive(terms: list[tuple[float, float, float]], at: float) -> bool:
    powers = [rate * at - offset for rate, offset, _ in terms]
    top = max(powers)
    return sum(factor * exp(power - top) for power, (_, _, factor) in zip(powers, terms, strict=True)) > 0


@dataclass(frozen=True)
class Cells:
    """Kinds of questions by who answers them. `share` sums to 1; `large`: the large model is right.

    `small[k]`: the small model is right with the insight of stage k; 0: none.
    """

    share: Column
    small: Sequence[Sequence[bool]]
    large: Sequence[bool]


@dataclass(frozen=True)
class Gate:
    """A place where a question may stop. `right`: the answer of a stop here.

    Costs: `advance` is paid by every question that comes here, `look` for the evidence (nobody looks where it gains
    nothing), `stop` for the answer.
    """

    right: Sequence[bool]
    evidence: Evidence
    look: float
    stop: float
    advance: float = 0.0


@dataclass(frozen=True)
class Route:
    """Gates in their order; the large model answers what did not stop, at the cost `finish`."""

    gates: Sequence[Gate]
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

    def value(self, worth: float) -> float:
        return worth * self.accuracy - self.cost


def best_stops(route: Route, cells: Cells, worth: float) -> Point:
    """The stops that maximise `worth` * accuracy - cost; each gate's in turns, which a few sweeps settle."""
    stops: list[Column] = [[0.0 for _ in cells.share] for _ in route.gates]
    found = _sweep(route, cells, worth, stops)
    for _ in range(_SWEEPS - 1 if len(stops) > 1 else 0):
        last, found = found, _sweep(route, cells, worth, stops)
        if found.value(worth) <= last.value(worth) + _ROUNDING:
            break
    return found


def _sweep(route: Route, cells: Cells, worth: float, stops: list[Column]) -> Point:
    """Chooses `stops` anew, from the last gate to the first."""
    cost, right = [route.finish for _ in cells.share], [float(each) for each in cells.large]
    reached = _reached(cells.share, stops)
    for index in reversed(range(len(stops))):
        gate = route.gates[index]
        saved = [
            worth * (is_right - r) - (gate.stop - c) for is_right, r, c in zip(gate.right, right, cost, strict=True)
        ]
        stop, look = _best_option(gate, list(map(mul, reached[index], saved)), sum(reached[index]))
        cost = [gate.advance + look + c + s * (gate.stop - c) for c, s in zip(cost, stop, strict=True)]
        right = [r + s * (is_right - r) for r, s, is_right in zip(right, stop, gate.right, strict=True)]
        stops[index] = stop
    return Point(dot(cells.share, cost), dot(cells.share, right))


def _best_option(gate: Gate, gains: Column, reached: float) -> tuple[Column, float]:
    """Chance to stop of each kind, and the cost of looking; none of both where the stops gain less than the look
    costs.
    """
    gain, stop = gate.evidence.best(gains)
    if gain <= gate.look * reached:
        return [0.0 for _ in gains], 0.0
    return stop, gate.look


def _reached(share: Column, stops: Sequence[Column]) -> list[Column]:
    """Share of the questions that come to each gate, by kind."""
    found = [share]
    for stop in stops:
        found.append([each * (1 - chance) for each, chance in zip(found[-1], stop, strict=True)])
    return found


def least_cost(point_at: Callable[[float], Point], accuracy: float) -> Point:
    """Of the policies that are best at some worth of accuracy, `point_at(worth)`, the cheapest with this accuracy.

    Where no single policy has it, a random share of the questions goes by a more accurate one: the least cost lies on
    the convex hull, and what is best at the worth of a chord's slope tells whether there is anything below that chord.
    The cost is 1 if the large model alone, which has this accuracy, is the cheapest.
    """
    cheap, accurate = (point_at(worth) for worth in _WORTH)
    if cheap.accuracy >= accuracy:
        return _no_dearer(cheap, accuracy)
    for _ in range(_CHORDS):
        rise, run = accurate.cost - cheap.cost, accurate.accuracy - cheap.accuracy
        if run < _ROUNDING or rise <= 0:
            break
        found = point_at(rise / run)
        if found.value(rise / run) <= cheap.value(rise / run) + _ROUNDING:
            break
        cheap, accurate = (found, accurate) if found.accuracy < accuracy else (cheap, found)
    share = (accuracy - cheap.accuracy) / max(accurate.accuracy - cheap.accuracy, _ROUNDING)
    return _no_dearer(cheap.mixed(accurate, share), accuracy)


def _no_dearer(found: Point, accuracy: float) -> Point:
    """Than the large model alone."""
    return found if found.cost < 1 - _ROUNDING else Point(1.0, accuracy)
