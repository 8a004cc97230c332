"""`tandem calibrate`: from out-of-fold scores and checks to the policy that meets the user's objective, and those it is
compared with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from lab.training import shepherd
from lab.training.evaluate import relative_costs
from lab.training.fitting import folds
from lab.training.metrics import Interval, bootstrap
from lab.training.names import WORDS
from lab.training.outcomes import cascade, llm_alone, route
from lab.training.policy import (
    Measure,
    Objective,
    Point,
    Policy,
    Unit,
    frontier,
    pareto_front,
    tune_for_accuracy,
)
from lab.training.pricing import PricedCourse
from lab.training.study import CASCADE, PAPER, Policies, Study
from lab.training.table import Floats, Table
from lab.training.trial_search import shortest_failures, with_agreement, with_trials
from tandem.method.evidence.checks import TrialPlan
from tandem.method.request.plan import Plan
from tandem.method.rule.stop_rule import NEVER

_CANDIDATES = np.round(np.arange(0.0, 1.001, 0.01), 2)
_SENT = 0.7  # of the failures, by the alternative that spares the large model the longest questions


@dataclass(frozen=True)
class FrontierPoint:
    """A policy of the frontier with 95 % intervals over questions; `cost` is relative to the large model alone.

    `costs` are those in every unit and price list that can be counted, `latency` seconds to the answer, None without
    measured rates.
    """

    policy: Policy
    accuracy: Interval
    cost: Interval
    costs: dict[str, Interval]
    latency: float | None


@dataclass(frozen=True)
class Calibration:
    """`agreement` is the best policy whose trials must agree, by the same objective; None where there are no stages for
    it.
    """

    policies: Policies
    frontier: list[FrontierPoint]
    served: FrontierPoint
    agreement: FrontierPoint | None
    llm_accuracy: float
    llm_latency: float | None
    unit: Unit


def calibrate(
    table: Table, plan: Plan, study: Study, objective: Objective, objective_text: str, llm_finishes: bool,
    scores_code: bool, progress: Callable[[str], None],
) -> Calibration:  # fmt: skip
    """Find the policies and save them. `table` holds the study's training questions; only out-of-fold scores are used.
    `scores_code`: the profile scores programming tasks.

    Raises StudyError, and ValueError for an objective in seconds where the profile has no rates.
    """
    search = _Search(table, plan, study, objective, progress)
    points = {finishes: search.points(finishes) for finishes in (False, True)}
    without = {finishes: [p for p in found if not p.policy.trial.stages] for finishes, found in points.items()}
    best = {finishes: objective.choose(found) for finishes, found in without.items()}
    agreeing = search.agreeing(llm_finishes)
    chosen = objective.choose([*points[llm_finishes], *agreeing])
    served = chosen.policy
    if not table.is_checked.any():  # these questions say nothing about trials: the profile's stay as they are
        served = replace(served, trial=plan.trial, programs_agree=False, scores_code=scores_code)
    progress("baselines")
    trial = TrialPlan([0], max_tokens=plan.answer_max_tokens)
    paper, own, training = study.scores(PAPER, table), study.scores(CASCADE, table)[:, 0], study.training()
    fold = folds(len(table.questions), training.folds, training.seed)
    hints = shepherd.find(table, plan, search.measure, objective, own, fold, training.seed)
    policies = Policies(
        served=served,
        never_finishing=best[False].policy,
        finishing=best[True].policy,
        paper=tune_for_accuracy(table, plan, paper, first=1),
        paper_from_zero=tune_for_accuracy(table, plan, paper, first=0),
        cascade=search.threshold(cascade, own),
        route=search.threshold(route, search.scores(WORDS)[:, 0]),
        shepherd=hints.proactive,
        shepherd_reactive=hints.reactive,
        objective=objective_text,
        accuracy=chosen.accuracy,
        cost=chosen.cost,
        trial=trial,
        trial_of_shortest=shortest_failures(table.take(table.is_checked), trial, _SENT),
    )
    study.save_hints(hints.predictor)
    study.save_policies(policies)
    shown = pareto_front([*points[False], *points[True]] if llm_finishes else points[False])
    alone = llm_alone(table, plan)
    return Calibration(
        policies,
        [search.with_intervals(point.policy) for point in shown],
        search.with_intervals(chosen.policy),
        search.with_intervals(objective.choose(agreeing).policy) if agreeing else None,
        float(alone.right.mean()),
        _latency(alone),
        objective.unit,
    )


class _Search:
    """The policies of one calibration, and the single thresholds of baselines, by the same objective."""

    def __init__(
        self, table: Table, plan: Plan, study: Study, objective: Objective, progress: Callable[[str], None]
    ) -> None:
        self._table, self._plan, self._objective, self._progress = table, plan, objective, progress
        self.measure = Measure(table, plan, objective.unit)
        training = study.training()
        chosen = [training.chosen] if training.asked != "auto" else list(dict.fromkeys((training.chosen, WORDS)))
        self._kinds = chosen
        self._scores = {kind: study.scores(kind, table) for kind in (*chosen, WORDS)}

    def scores(self, kind: str) -> Floats:
        return self._scores[kind]

    def points(self, finishes: bool) -> list[Point]:
        """Policies without trials, then with the trials that are worth their cost."""
        table, plan, unit, found = self._table, self._plan, self._objective.unit, list[Point]()
        for kind in self._kinds:
            self._progress(f"frontier of {kind}{', the large model may finish' if finishes else ''}")
            found += frontier(table, plan, self._scores[kind], unit, finishes, kind)
            never = self._never(kind, finishes)  # loses nothing on any kind of question, where the front may
            found.append(self.measure.point(never, never.run(table, plan, self._scores[kind])))
            self._progress(f"trials with {kind}{', the large model may finish' if finishes else ''}")
            found += with_trials(self._rules(kind, finishes), table, plan, self._scores[kind], unit)
        return found

    def agreeing(self, finishes: bool) -> list[Point]:
        self._progress("trials that must agree")
        kind = self._kinds[0]
        return with_agreement(
            [self._never(kind, finishes)], self._table, self._plan, self._scores[kind], self._objective.unit
        )

    def threshold(self, method: Callable[[Table, Plan, Floats, float], PricedCourse], scores: Floats) -> float:
        """The best threshold of a baseline that has but one."""
        points = [
            self.measure.point(Policy((threshold,), True), method(self._table, self._plan, scores, threshold))
            for threshold in _CANDIDATES.tolist()
        ]
        return self._objective.choose(points).policy.thresholds[0]

    def with_intervals(self, policy: Policy) -> FrontierPoint:
        table, plan = self._table, self._plan
        outcome, alone = policy.run(table, plan, self._scores[policy.kind]), self.measure.alone
        costs = relative_costs(outcome, alone)
        accuracy = bootstrap(lambda rows: float(outcome.right[rows].mean()), len(table.questions))
        return FrontierPoint(policy, accuracy, costs[self._objective.unit], costs, _latency(outcome))

    def _rules(self, kind: str, finishes: bool) -> list[Policy]:
        """Thresholds for the questions without a check, and none at all."""
        rows = ~self._table.is_checked
        rules = {self._never(kind, finishes).thresholds: self._never(kind, finishes)}
        if rows.any():
            part, scores = self._table.take(rows), self._scores[kind][rows]
            found = frontier(part, self._plan, scores, self._objective.unit, finishes, kind)
            rules |= {point.policy.thresholds: point.policy for point in found}
        return list(rules.values())

    def _never(self, kind: str, finishes: bool) -> Policy:
        return Policy((NEVER,) * self._table.stages, finishes, "no stage stops", kind, kind != WORDS)


def _latency(outcome: PricedCourse) -> float | None:
    seconds = float(outcome.latency.mean())
    return None if np.isnan(seconds) else seconds
