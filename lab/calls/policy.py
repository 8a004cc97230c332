"""Which scores suffice: the thresholds that save most, at an accuracy not far below the large model's, found out of
fold, in each mix of tasks that is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lab.calls.answers import CallTable
from lab.calls.methods import CallPolicy, Scores, cascade, certainty, llm_alone
from lab.calls.mixes import weights_of
from lab.training.policy import Unit
from lab.training.pricing import PricedCourse
from lab.training.table import Bools, Floats
from tandem.method.request.plan import Plan
from tandem.method.rule.stop_rule import NEVER


@dataclass(frozen=True)
class Goal:
    """Least cost in `unit`, at an accuracy at most `below` under the large model's. With `mixes`, shares of tasks where
    no tool fits, the accuracy is kept in each of them, and the cost is their mean.
    """

    below: float = 0.02
    unit: Unit = "full"
    mixes: tuple[float, ...] = ()

    def __str__(self) -> str:
        of = f", with {', '.join(f'{share:.0%}' for share in self.mixes)} of tasks where no tool fits"
        least = f"lowest {self.unit} cost at an accuracy no more than {self.below:.1%} below the large model's"
        return least + (of if self.mixes else "")


@dataclass(frozen=True)
class _Steps:
    """What it brings to accept everything from each score down, best first: `thresholds` [m + 1], and, for each mix,
    sums [m + 1, mixes] of right answers gained and cost saved. The first accepts nothing.
    """

    thresholds: Floats
    gained: Floats
    saved: Floats

    @classmethod
    def of(cls, scores: Floats, rows: Bools, gain: Floats, saving: Floats) -> _Steps:
        """`gain` and `saving` are [n, mixes]."""
        rows = rows & ~np.isnan(scores) & (scores < NEVER)
        order = np.argsort(-scores[rows], kind="stable")
        ordered = scores[rows][order]
        is_last = np.append(ordered[1:] != ordered[:-1], True) if len(ordered) else np.zeros(0, bool)
        return cls(
            np.append(NEVER, ordered[is_last]),
            *(np.vstack([0 * each[:1], np.cumsum(each[rows][order], axis=0)[is_last]]) for each in (gain, saving)),
        )


def search(table: CallTable, plan: Plan, scores: Scores, goal: Goal) -> CallPolicy:
    """Raises StudyError where a mix has tasks of which the table has none."""
    everything = np.ones(len(table), bool)
    weights = weights_of(table.none_fits, goal.mixes)
    alone_cost = _cost(llm_alone(table, plan), goal) * weights
    small_cost = _cost(cascade(table, plan, everything), goal) * weights
    gain = (table.slm.right.astype(float) - table.llm.right)[:, None] * weights
    nobody = np.zeros(len(table), bool)
    least = -goal.below * len(table)
    calls, texts, mean = (
        _Steps.of(found, rows, gain, alone_cost)
        for found, rows in (
            (scores.ours, table.has_calls),
            (scores.ours, table.is_text),
            (certainty(table), table.has_calls),
        )
    )
    routed = _Steps.of(scores.router, everything, gain, alone_cost - small_cost)
    none = _Steps.of(scores.ours, nobody, gain, gain)
    tried = float(small_cost.sum(axis=0).mean())
    best = _best(calls, texts, least, tried)
    return CallPolicy(
        calls=best[0],
        texts=best[1],
        calls_only=_best(calls, none, least, tried)[0],
        mean=_best(mean, none, least, tried)[0],
        router=_best(routed, none, least, 0.0)[0],
    )


def _best(a: _Steps, b: _Steps, least: float, price: float) -> tuple[float, float]:
    """The pair of thresholds that saves most; nothing is accepted where that saves less than the small model's
    `price`.
    """
    gained = (a.gained[:, None] + b.gained[None, :]).min(axis=-1)
    saved = np.where(gained >= least - 1e-9, (a.saved[:, None] + b.saved[None, :]).mean(axis=-1), -np.inf)
    i, j = np.unravel_index(int(saved.argmax()), saved.shape)
    if saved[i, j] <= price:
        return NEVER, NEVER
    return _below(a.thresholds, int(i)), _below(b.thresholds, int(j))


def _below(thresholds: Floats, at: int) -> float:
    """Half way to the next score that is not accepted, so that the same score of another computer still suffices."""
    if at == 0:
        return NEVER
    following = thresholds[at + 1] if at + 1 < len(thresholds) else 0.0
    return float(round((thresholds[at] + following) / 2, 6))


def _cost(outcome: PricedCourse, goal: Goal) -> Floats:
    """[n, 1]"""
    cost: Floats = getattr(outcome, goal.unit)
    return cost[:, None]
