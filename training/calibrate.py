"""`tandem calibrate`: from out-of-fold scores to the policy that meets the user's objective, and those it is compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tandem.method.plan import Plan
from training.estimators import WORDS
from training.metrics import Interval, bootstrap, ratio_of_means
from training.outcomes import cascade, llm_alone, route
from training.policy import (
    Objective,
    Point,
    Policy,
    Unit,
    frontier,
    pareto_front,
    point_of,
    relative_cost,
    tune_for_accuracy,
)
from training.pricing import Outcome
from training.study import CASCADE, PAPER, Policies, Study
from training.table import Floats, Table

_CANDIDATES = np.round(np.arange(0.0, 1.001, 0.01), 2)


@dataclass(frozen=True)
class FrontierPoint:
    """A policy of the frontier with 95 % intervals over questions; `cost` is relative to the large model alone."""

    policy: Policy
    accuracy: Interval
    cost: Interval


@dataclass(frozen=True)
class Calibration:
    policies: Policies
    frontier: list[FrontierPoint]
    llm_accuracy: float
    unit: Unit


def calibrate(
    table: Table, plan: Plan, study: Study, objective: Objective, objective_text: str, llm_finishes: bool,
    progress: Callable[[str], None],
) -> Calibration:  # fmt: skip
    """Find the policies and save them. `table` holds the study's training questions; only out-of-fold scores are used.

    Raises StudyError.
    """
    training = study.training()
    kinds = [training.chosen] if training.asked != "auto" else list(dict.fromkeys((training.chosen, WORDS)))
    scores = {kind: study.scores(kind, table) for kind in (*kinds, WORDS)}
    accuracy = float(llm_alone(table, plan).right.mean())
    points: dict[bool, list[Point]] = {False: [], True: []}
    for finishes, found in points.items():
        for kind in kinds:
            progress(f"frontier of {kind}{', the large model may finish' if finishes else ''}")
            found += frontier(table, plan, scores[kind], objective.unit, finishes, kind)
    best = {finishes: objective.choose(found, accuracy) for finishes, found in points.items()}
    progress("baselines")
    served = best[llm_finishes]
    search = _ThresholdSearch(table, plan, objective, accuracy)
    policies = Policies(
        served=served.policy,
        never_finishing=best[False].policy,
        finishing=best[True].policy,
        paper=tune_for_accuracy(table, plan, study.scores(PAPER, table)),
        cascade=search.best(cascade, study.scores(CASCADE, table)[:, 0]),
        route=search.best(route, scores[WORDS][:, 0]),
        objective=objective_text,
        accuracy=served.accuracy,
        cost=served.cost,
    )
    study.save_policies(policies)
    shown = pareto_front([*points[False], *points[True]] if llm_finishes else points[False])
    return Calibration(
        policies,
        [_with_interval(p, table, plan, scores[p.policy.kind], objective.unit) for p in shown],
        accuracy,
        objective.unit,
    )


def _with_interval(point: Point, table: Table, plan: Plan, scores: Floats, unit: Unit) -> FrontierPoint:
    outcome, alone = point.policy.run(table, plan, scores), llm_alone(table, plan)
    return FrontierPoint(
        point.policy,
        bootstrap(lambda rows: float(outcome.right[rows].mean()), len(table.questions)),
        ratio_of_means(getattr(outcome, unit), getattr(alone, unit)),
    )


@dataclass(frozen=True)
class _ThresholdSearch:
    """Finds the single threshold of a baseline, by the same objective as for our policies."""

    table: Table
    plan: Plan
    objective: Objective
    llm_accuracy: float

    def best(self, method: Callable[[Table, Plan, Floats, float], Outcome], scores: Floats) -> float:
        cost_of = relative_cost(self.table, self.plan, self.objective.unit)
        points = [
            point_of(Policy((threshold,), True), method(self.table, self.plan, scores, threshold), cost_of)
            for threshold in _CANDIDATES.tolist()
        ]
        return self.objective.choose(points, self.llm_accuracy).policy.thresholds[0]
