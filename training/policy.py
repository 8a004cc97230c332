"""From probabilities to a rule that knows cost: a threshold for each stage, and what to do when none is reached.

Two ways to find thresholds, both on scores out of fold, for every price of a unit of cost: `grid` tries values stage by
stage until none helps (METHOD 1's grid, with cost in the objective); `stopping` is optimal stopping by backward
induction: what stopping gains over going on is regressed on the score, and the threshold is where that is nothing. The
user's objective then picks a point of the frontier that they span.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from tandem.method.plan import Plan
from training.estimators import WORDS
from training.outcomes import Outcome, llm_alone, tandem
from training.table import Floats, Table

Unit = Literal["paper", "full", "usd"]
NEVER = 1.0  # a calibrated score does not reach it; where the large model may finish such a stage is not even scored
_GRID = np.round(np.arange(0.05, 0.951, 0.025), 3)
_PRICES = np.geomspace(0.01, 3.0, 25)  # accuracy that the large model's whole cost is worth


@dataclass(frozen=True)
class Policy:
    """`thresholds` of stage 0, 1, ..., K. `llm_finishes`: where none is reached the large model goes on to its end.
    `kind` is its scorer's, `needs_pass` whether that reads the prompt.
    """

    thresholds: tuple[float, ...]
    llm_finishes: bool
    found_by: str = ""
    kind: str = ""
    needs_pass: bool = True

    def run(self, table: Table, plan: Plan, scores: Floats) -> Outcome:
        return tandem(table, plan, scores, self.thresholds, self.llm_finishes, self.needs_pass)


@dataclass(frozen=True)
class Rules:
    """What all the rules of one search have in common."""

    table: Table
    plan: Plan
    scores: Floats
    price_of: Callable[[Outcome], Floats]
    llm_finishes: bool
    kind: str

    def worth(self, thresholds: Sequence[float], price: float) -> Floats:
        """Right answers less the price of their cost, float64[n]."""
        outcome = self.policy(thresholds).run(self.table, self.plan, self.scores)
        return outcome.right - price * self.price_of(outcome)

    def policy(self, thresholds: Sequence[float], found_by: str = "") -> Policy:
        return Policy(tuple(thresholds), self.llm_finishes, found_by, self.kind, self.kind != WORDS)

    def point(self, policy: Policy) -> Point:
        return point_of(policy, policy.run(self.table, self.plan, self.scores), self.price_of)


@dataclass(frozen=True)
class Point:
    """What a policy comes to on the questions it was found on, with out-of-fold scores. `cost` is relative to the LLM's."""

    policy: Policy
    accuracy: float
    cost: float


@dataclass(frozen=True)
class Objective:
    """Least cost at an accuracy at most `below` under the large model's; or the most accuracy at a relative cost of at
    most `most_cost`; or the most `accuracy - price * cost`. One of the three is given; cost in `unit`.
    """

    unit: Unit = "full"
    below: float | None = None
    most_cost: float | None = None
    price: float | None = None

    def choose(self, points: Iterable[Point], llm_accuracy: float) -> Point:
        """Where no point meets it: the one that misses it least."""
        every = list(points)
        if self.below is not None:
            wanted = llm_accuracy - self.below
            return min(every, key=lambda p: (max(0.0, wanted - p.accuracy), p.cost, -p.accuracy))
        if self.most_cost is not None:
            most = self.most_cost
            return min(every, key=lambda p: (max(0.0, p.cost - most), -p.accuracy, p.cost))
        price = self.price or 0.0
        return max(every, key=lambda p: (p.accuracy - price * p.cost, -p.cost))


def frontier(table: Table, plan: Plan, scores: Floats, unit: Unit, llm_finishes: bool, kind: str = "") -> list[Point]:
    """The policies that no other beats in both accuracy and cost, cheapest first. `kind` is that of the scores."""
    rules = Rules(table, plan, scores, relative(table, plan, unit), llm_finishes, kind)
    found = [rules.point(search(rules, price)) for price in _PRICES for search in (by_stopping, by_grid)]
    # A price finds only what is best for some price; an objective may want what lies between.
    for policy in {point.policy.thresholds: point.policy for point in undominated(found)}.values():
        found += [rules.point(near) for near in _neighbours(policy)]
    return undominated(found)


def _neighbours(policy: Policy) -> Iterator[Policy]:
    """Those that differ in one stage's threshold."""
    for stage in range(len(policy.thresholds)):
        for threshold in (*_GRID.tolist(), NEVER):
            thresholds = (*policy.thresholds[:stage], threshold, *policy.thresholds[stage + 1 :])
            yield replace(policy, thresholds=thresholds, found_by=f"{policy.found_by}, stage {stage} varied")


def point_of(policy: Policy, outcome: Outcome, price_of: Callable[[Outcome], Floats]) -> Point:
    return Point(policy, float(outcome.right.mean()), float(price_of(outcome).mean()))


def undominated(points: Iterable[Point]) -> list[Point]:
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (p.cost, -p.accuracy)):
        if not kept or point.accuracy > kept[-1].accuracy:
            kept.append(point)
    return kept


def by_grid(rules: Rules, price: float) -> Policy:
    """Coordinate ascent of mean accuracy - price * cost, from the last stage to the first, until no stage changes."""

    def value(thresholds: list[float]) -> float:
        return float(rules.worth(thresholds, price).mean())

    stages = rules.table.stages
    start = [NEVER] * stages
    every = (*_GRID.tolist(), NEVER)
    thresholds = _ascend(value, start, value(start), list(reversed(range(stages))), every, sweeps=4)
    return rules.policy(thresholds, f"grid at price {price:.3f}")


def by_stopping(rules: Rules, price: float) -> Policy:
    """Backward induction. At stage k each question tells what stopping there would gain over what the rule from k + 1 on
    brings it, in accuracy less the price of its cost; the threshold is the score from which on that gain is largest, which
    is where its isotonic regression on the score crosses zero; 1 where no score gains.
    """
    table = rules.table
    thresholds = [NEVER] * table.stages
    for stage in reversed(range(table.stages)):
        there = table.slm.exists[:, stage]
        stopped = [NEVER] * stage + [0.0] + thresholds[stage + 1 :]
        gain, score = (rules.worth(stopped, price) - rules.worth(thresholds, price))[there], rules.scores[there, stage]
        order = np.argsort(score, kind="stable")
        from_here = np.cumsum(gain[order][::-1])[::-1]  # from each score on
        best = int(from_here.argmax()) if len(from_here) else 0
        if len(from_here) and from_here[best] > 0:
            thresholds[stage] = float(score[order][best])
    return rules.policy(thresholds, f"optimal stopping at price {price:.3f}")


def tuned_for_accuracy(table: Table, plan: Plan, scores: Floats) -> Policy:
    """The paper's: a grid of thresholds per stage for accuracy alone, no stage 0, no finishing large model."""

    def accuracy(thresholds: list[float]) -> float:
        return float(tandem(table, plan, scores, thresholds, False).right.mean())

    # Its grid does not know "never", so whatever it holds is better than the start.
    every = np.round(np.arange(0.05, 0.951, 0.05), 2).tolist()
    thresholds = _ascend(accuracy, [NEVER] * table.stages, -1.0, range(1, table.stages), every, sweeps=3)
    return Policy(tuple(thresholds), False, "grid for accuracy")


def _ascend(
    value: Callable[[list[float]], float],
    start: list[float],
    worth_of_start: float,
    stages: Sequence[int],
    candidates: Sequence[float],
    sweeps: int,
) -> list[float]:
    """Coordinate ascent: the best candidate for one stage after the other, until none changes or after `sweeps` rounds."""
    thresholds, best = start, worth_of_start
    for _ in range(sweeps):
        before = thresholds
        for stage in stages:
            for candidate in candidates:
                tried = [*thresholds[:stage], candidate, *thresholds[stage + 1 :]]
                if (worth := value(tried)) > best + 1e-12:
                    best, thresholds = worth, tried
        if thresholds == before:
            break
    return thresholds


def relative(table: Table, plan: Plan, unit: Unit) -> Callable[[Outcome], Floats]:
    """What an outcome costs for each question, in units of the large model's mean cost alone."""
    alone = float(getattr(llm_alone(table, plan), unit).mean())
    return lambda outcome: getattr(outcome, unit) / alone
