"""Policies: from probabilities and checks to decisions that account for cost (docs/method.md, Stop rule and Checks).

A policy has one threshold per stage, says what happens if no stage reaches its threshold, and where the small model
tries first to be checked (training.trial_search finds that). Two searches find
thresholds on out-of-fold scores, for a range of prices of a unit of cost: `grid_search` is coordinate ascent over a
grid (the paper's, with cost in the objective); `backward_induction` is optimal stopping. The user's objective then
picks a point of the Pareto frontier of all policies found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from lab.training.names import WORDS
from lab.training.outcomes import llm_alone, tandem
from lab.training.pricing import PricedCourse, priced
from lab.training.rule import Rule, stop_rule
from lab.training.table import Bools, Floats, Table
from lab.training.verified import agreeing, verified
from tandem.method.evidence.checks import TrialPlan
from tandem.method.request.plan import Plan
from tandem.method.rule.stop_rule import NEVER, is_scored

Unit = Literal["paper", "full", "usd", "seconds"]
UNITS: tuple[Unit, ...] = ("full", "paper", "usd", "seconds")
_GRID = np.round(np.arange(0.05, 0.951, 0.025), 3)
_PRICES = np.geomspace(0.01, 3.0, 25)  # accuracy that equals the large model's whole cost
_TOLERANCE = 1e-12


@dataclass(frozen=True)
class Policy:
    """`thresholds` of stage 0, 1, ..., K. `llm_finishes`: if no stage reaches its threshold, the large model finishes.

    `found_by` names the search, `kind` the scorer's kind; `needs_pass` says whether the scorer uses a scoring pass.
    `trial` without stages: no answer is checked. `agreement`: so many successive trials must agree on questions that
    have no other check; 0: they are not tried. `programs_agree`: two small models' programs must, where the check of
    that applies. `scores_code`:
    special tasks (Table) are scored like other questions.
    """

    thresholds: tuple[float, ...]
    llm_finishes: bool
    found_by: str = ""
    kind: str = ""
    needs_pass: bool = True
    trial: TrialPlan = field(default_factory=TrialPlan)
    agreement: int = 0
    scores_code: bool = True
    programs_agree: bool = False

    @property
    def needs_insight(self) -> bool:
        """It may stop, try or score after a stage of the large model's text."""
        scored = any(is_scored(threshold, self.llm_finishes) for threshold in self.thresholds[1:])
        tried = self.trial.mode == "overlapped" or any(self.trial.stages)
        return scored or tried or not self.llm_finishes

    def rule(self, scores: Floats) -> Rule:
        return Rule(scores, self.thresholds, self.llm_finishes, self.needs_pass, self.scores_code)

    def run(self, table: Table, plan: Plan, scores: Floats) -> PricedCourse:
        rule = self.rule(scores)
        if not self.trial.stages:
            return priced(plan, stop_rule(table, plan, rule))
        seen = agreeing(table, self.trial.stages, self.agreement) if self.agreement else table
        return verified(seen, plan, self.trial, rule, must_agree=self.programs_agree)


@dataclass(frozen=True)
class SearchSpace:
    """What all policies of one search have in common."""

    table: Table
    plan: Plan
    scores: Floats
    measure: Measure
    llm_finishes: bool
    kind: str
    _tried: dict[tuple[float, ...], tuple[Bools, Floats]] = field(default_factory=dict, init=False, compare=False)

    def utility(self, thresholds: Sequence[float], price: float) -> Floats:
        """Right answers less price * cost, float64[n]."""
        right, cost = self._try(tuple(thresholds))
        return right - price * cost

    def _try(self, thresholds: tuple[float, ...]) -> tuple[Bools, Floats]:
        """Right answers and cost, once: searches for other prices come to the same thresholds."""
        if thresholds not in self._tried:
            outcome = self.policy(thresholds).run(self.table, self.plan, self.scores)
            self._tried[thresholds] = outcome.right, self.measure.cost(outcome)
        return self._tried[thresholds]

    def policy(self, thresholds: Sequence[float], found_by: str = "") -> Policy:
        return Policy(tuple(thresholds), self.llm_finishes, found_by, self.kind, self.kind != WORDS)

    def point(self, policy: Policy) -> Point:
        return self.measure.point(policy, policy.run(self.table, self.plan, self.scores))


@dataclass(frozen=True)
class Point:
    """A policy's mean accuracy and cost on the questions it was found on; `cost` is relative to the large model alone.

    `lost` is the most accuracy that a kind of questions, those with a check or those without, loses against that model.
    """

    policy: Policy
    accuracy: float
    cost: float
    lost: float


class Measure:
    """Accuracy and cost against the large model alone, on the questions of a table. Raises ValueError for a unit
    without rates.
    """

    def __init__(self, table: Table, plan: Plan, unit: Unit) -> None:
        must_be_counted(unit, plan)
        self._unit: Unit = unit
        self.alone = llm_alone(table, plan)
        self._cost_alone = float(getattr(self.alone, unit).mean())
        kinds = (table.is_checked, ~table.is_checked)
        self._kinds = [kind for kind in kinds if kind.any()]

    def cost(self, outcome: PricedCourse) -> Floats:
        """Per question, in units of the large model's mean cost alone."""
        cost: Floats = getattr(outcome, self._unit) / self._cost_alone
        return cost

    def point(self, policy: Policy, outcome: PricedCourse) -> Point:
        gained = outcome.right.astype(float) - self.alone.right
        lost = max(-float(gained[kind].mean()) for kind in self._kinds)
        return Point(policy, float(outcome.right.mean()), float(self.cost(outcome).mean()), lost)


def must_be_counted(unit: Unit, plan: Plan) -> None:
    """Raises ValueError for seconds where the profile has no rates."""
    if unit == "seconds" and plan.llm.rates is None:
        raise ValueError("the profile has no [rates] to count seconds by: run `make bench-rates WRITE=1`")


@dataclass(frozen=True)
class Objective:
    """Exactly one of three, with cost in `unit` relative to the large model alone.

    `below`: least cost at an accuracy at most this far below the large model's, on questions with a check and on those
    without. `most_cost`: most accuracy at no more than this cost. `price`: most `accuracy - price * cost`.
    """

    unit: Unit = "full"
    below: float | None = None
    most_cost: float | None = None
    price: float | None = None

    def choose(self, points: Iterable[Point]) -> Point:
        """If no point meets the objective: the one that misses it least."""
        candidates = list(points)
        if self.below is not None:
            below = self.below + _TOLERANCE
            return min(candidates, key=lambda p: (max(0.0, p.lost - below), p.cost, -p.accuracy))
        if self.most_cost is not None:
            most = self.most_cost
            return min(candidates, key=lambda p: (max(0.0, p.cost - most), -p.accuracy, p.cost))
        price = self.price or 0.0
        return max(candidates, key=lambda p: (p.accuracy - price * p.cost, -p.cost))


def frontier(table: Table, plan: Plan, scores: Floats, unit: Unit, llm_finishes: bool, kind: str = "") -> list[Point]:
    """The Pareto frontier of accuracy and cost, cheapest first. `kind` is that of the scores."""
    space = SearchSpace(table, plan, scores, Measure(table, plan, unit), llm_finishes, kind)
    found = [space.point(search(space, price)) for price in _PRICES for search in (backward_induction, grid_search)]
    # A price finds only points on the convex hull; an objective may need one between them.
    for policy in {point.policy.thresholds: point.policy for point in pareto_front(found)}.values():
        found += [space.point(neighbour) for neighbour in _neighbours(policy)]
    return pareto_front(found)


def _neighbours(policy: Policy) -> Iterator[Policy]:
    """Those that differ in one stage's threshold."""
    for stage in range(len(policy.thresholds)):
        for threshold in (*_GRID.tolist(), NEVER):
            thresholds = (*policy.thresholds[:stage], threshold, *policy.thresholds[stage + 1 :])
            yield replace(policy, thresholds=thresholds, found_by=f"{policy.found_by}, stage {stage} varied")


def pareto_front(points: Iterable[Point]) -> list[Point]:
    """The points that no other beats in both accuracy and cost, cheapest first."""
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.cost, -p.accuracy)):
        if not front or point.accuracy > front[-1].accuracy:
            front.append(point)
    return front


def grid_search(space: SearchSpace, price: float) -> Policy:
    """Coordinate ascent of mean utility, from the last stage to the first, until no threshold changes."""

    def value(thresholds: list[float]) -> float:
        return float(space.utility(thresholds, price).mean())

    stages = space.table.stages
    start = [NEVER] * stages
    grid = (*_GRID.tolist(), NEVER)
    thresholds = _ascend(value, start, value(start), list(reversed(range(stages))), grid, sweeps=4)
    return space.policy(thresholds, f"grid at price {price:.3f}")


def backward_induction(space: SearchSpace, price: float) -> Policy:
    """Optimal stopping, from the last stage to the first.

    The gain of a question at stage k is the utility of stopping there less that of the policy from k + 1 on. The
    threshold is the score that maximises the summed gain of all scores from it on, which is where the isotonic
    regression of the gain on the score crosses zero; NEVER if no sum is positive.
    """
    table = space.table
    thresholds = [NEVER] * table.stages
    for stage in reversed(range(table.stages)):
        exists = table.slm.exists[:, stage]
        stopping = [NEVER] * stage + [0.0] + thresholds[stage + 1 :]
        gain = (space.utility(stopping, price) - space.utility(thresholds, price))[exists]
        score = space.scores[exists, stage]
        order = np.argsort(score, kind="stable")
        gain_from = np.cumsum(gain[order][::-1])[::-1]
        best = int(gain_from.argmax()) if len(gain_from) else 0
        if len(gain_from) and gain_from[best] > 0:
            thresholds[stage] = float(score[order][best])
    return space.policy(thresholds, f"optimal stopping at price {price:.3f}")


def tune_for_accuracy(table: Table, plan: Plan, scores: Floats, first: int) -> Policy:
    """The paper's: a grid of thresholds per stage for accuracy alone; the large model never finishes.

    Stages before `first` never stop a question: 1 for the three levels of the paper's text, 0 for its code's four.
    """

    def accuracy(thresholds: list[float]) -> float:
        return float(tandem(table, plan, scores, thresholds, False).right.mean())

    # The paper's grid lacks NEVER, so any candidate must beat the start.
    grid = np.round(np.arange(0.05, 0.951, 0.05), 2).tolist()
    thresholds = _ascend(accuracy, [NEVER] * table.stages, -1.0, range(first, table.stages), grid, sweeps=3)
    return Policy(tuple(thresholds), False, "grid for accuracy")


def _ascend(
    value: Callable[[list[float]], float],
    start: list[float],
    value_of_start: float,
    stages: Sequence[int],
    candidates: Sequence[float],
    sweeps: int,
) -> list[float]:
    """Coordinate ascent: the best candidate for one stage at a time, until none changes or after `sweeps` rounds."""
    thresholds, best = start, value_of_start
    for _ in range(sweeps):
        before = thresholds
        for stage in stages:
            for candidate in candidates:
                tried = [*thresholds[:stage], candidate, *thresholds[stage + 1 :]]
                if (found := value(tried)) > best + _TOLERANCE:
                    best, thresholds = found, tried
        if thresholds == before:
            break
    return thresholds
