"""`tandem calibrate`: from out-of-fold scores to the policy that meets the user's objective, and those it is compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tandem.method.plan import Plan
from training.estimators import WORDS
from training.metrics import Interval, bootstrap, ratio_of_means
from training.outcomes import Outcome, cascade, llm_alone, route
from training.policy import (
    Objective,
    Point,
    Policy,
    Unit,
    frontier,
    point_of,
    relative,
    tuned_for_accuracy,
    undominated,
)
from training.study import CASCADE, PAPER, Policies, Study
from training.table import Floats, Table

_CANDIDATES = np.round(np.arange(0.0, 1.001, 0.01), 2)


@dataclass(frozen=True)
class FrontierPoint:
    """A policy of the frontier with 95 % intervals over questions; `cost` is relative to the large model's."""

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
    table: Table, plan: Plan, study: Study, objective: Objective, told: str, llm_finishes: bool,
    progress: Callable[[str], None],
) -> Calibration:  # fmt: skip
    """Find the policies on `table`, which the study was trained on; only scores out of fold are used. Saves them.

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
    progress("what it is compared with")
    served = best[llm_finishes]
    routed = scores[WORDS][:, 0]
    policies = Policies(
        served=served.policy,
        never_finishing=best[False].policy,
        finishing=best[True].policy,
        paper=tuned_for_accuracy(table, plan, study.scores(PAPER, table)),
        cascade=_threshold(_cascade_of(table, plan, study), table, plan, objective, accuracy),
        route=_threshold(lambda t: route(table, plan, routed, t), table, plan, objective, accuracy),
        objective=told,
        accuracy=served.accuracy,
        cost=served.cost,
    )
    study.save_policies(policies)
    drawn = undominated([*points[False], *points[True]] if llm_finishes else points[False])
    return Calibration(
        policies,
        [_with_interval(p, table, plan, scores[p.policy.kind], objective.unit) for p in drawn],
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


def _cascade_of(table: Table, plan: Plan, study: Study) -> Callable[[float], Outcome]:
    scores = study.scores(CASCADE, table)[:, 0]
    return lambda threshold: cascade(table, plan, scores, threshold)


def _threshold(
    run: Callable[[float], Outcome], table: Table, plan: Plan, objective: Objective, llm_accuracy: float
) -> float:
    """One threshold, by the same objective as ours."""
    price_of = relative(table, plan, objective.unit)
    points = [point_of(Policy((t,), True), run(t), price_of) for t in _CANDIDATES.tolist()]
    return objective.choose(points, llm_accuracy).policy.thresholds[0]
