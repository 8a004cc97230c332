"""What a rule comes to on the facts of a pair: a fixed one, and the one that a promise chooses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lab.pairs.facts import PairFacts
from lab.training.lot import lot_at
from lab.training.metrics import Interval, bootstrap, difference_of_means, mcnemar
from lab.training.promise import Promise, most_lost, upper_bound
from lab.training.table import Bools, Floats, Rows

LADDER = (10, 8, 6, 5, 4, 3, 2, 1)
"""What the examples of a pass must count, the strictest first. Below the last there is no evidence at all."""
HALVES = 200


@dataclass(frozen=True)
class Ruled:
    """Arrays [n, r] of one rule: the small model's program where it passes enough examples, else the large model's."""

    accepted: Bools
    right: Bools
    lost: Bools
    cost: Floats


def ruled(facts: PairFacts, weight: float) -> Ruled:
    """`weight` inf: the large model answers everything."""
    tried = np.broadcast_to((facts.weight >= weight)[:, None], facts.passes.shape)
    accepted = tried & facts.passes
    return Ruled(
        accepted,
        right=np.where(accepted, facts.small_right, facts.large_right),
        lost=accepted & ~facts.small_right & facts.large_right,
        cost=np.where(tried, facts.small_cost, 0.0) + np.where(accepted, 0.0, facts.large_cost),
    )


@dataclass(frozen=True)
class FixedRule:
    """Shares of all questions, with 95 % intervals over tasks. `cost` is relative to the large model alone.

    `lost` of the n questions (a mean of the runs), and `bound`, what the share lost is at most with 95 % confidence;
    None for several runs of a task, which are not independent; so is McNemar's `p_value` of the difference. `lot`: less
    the large model, of a lot between the two at the same cost, as a share; None: no lot costs as much. `small_cost`: of
    the small model alone.
    """

    n: int
    runs: int
    small: float
    large: float
    accepted: float
    difference: Interval
    cost: Interval
    lost: float
    bound: float | None
    p_value: float | None
    lot: float | None
    small_cost: float


def fixed_rule(facts: PairFacts, weight: float) -> FixedRule:
    found = ruled(facts, weight)
    gain = (found.right.astype(float) - facts.large_right).mean(axis=1)
    cost, alone = found.cost.mean(axis=1), facts.large_cost.mean(axis=1)
    lost, is_once = float(found.lost.mean(axis=1).sum()), facts.passes.shape[1] == 1
    return FixedRule(
        facts.n,
        facts.passes.shape[1],
        float(facts.small_right.mean()),
        float(facts.large_right.mean()),
        float(found.accepted.mean()),
        difference_of_means(found.right[:, 0], facts.large_right[:, 0])
        if is_once
        else bootstrap(lambda rows: float(gain[rows].mean()), facts.n),
        bootstrap(lambda rows: float(cost[rows].sum() / alone[rows].sum()), facts.n),
        lost,
        upper_bound(round(lost), facts.n, 0.95) if is_once else None,
        mcnemar(found.right[:, 0], facts.large_right[:, 0]) if is_once else None,
        lot_at(
            float(cost.mean()),
            (facts.small_cost.mean(axis=1), facts.small_right.mean(axis=1)),
            (alone, facts.large_right.mean(axis=1)),
        ),
        float(facts.small_cost.sum() / facts.large_cost.sum()),
    )


@dataclass(frozen=True)
class Promised:
    """A rule chosen on a random half of the tasks and judged on the other, the mean of HALVES such splits.

    `cost` is relative to the large model alone, `lost` a share of the questions. `broken`: share of the splits whose
    rule loses more than promised on all tasks, which is the share that the bound is about. `above`: share in which the
    other half lost more, which a kept promise may too: a half is a sample, and where the one half has few losses the
    other has the rest.
    """

    promise: Promise
    cost: float
    lost: float
    broken: float
    above: float


def promised(facts: PairFacts, promises: Sequence[Promise], seed: int = 0) -> list[Promised]:
    """One for each promise, on the same splits."""
    generator = np.random.default_rng(seed)
    splits = [_split(facts, generator) for _ in range(HALVES)]
    return [_judged(splits, promise) for promise in promises]


@dataclass(frozen=True)
class _Split:
    """Counts of the half that chooses, and shares of the other and of all, by strictness; the last of the shares are of
    no rule.
    """

    n: int
    lost: Floats
    costs: Floats
    losses: Floats
    losses_of_all: Floats


def _split(facts: PairFacts, generator: np.random.Generator) -> _Split:
    once = facts.one_run(generator)
    order = generator.permutation(facts.n)
    chooses, judges = order[: facts.n // 2], order[facts.n // 2 :]
    rules = [ruled(once, weight) for weight in (*LADDER, np.inf)]
    return _Split(
        len(chooses),
        np.array([rule.lost[chooses].sum() for rule in rules[:-1]]),
        np.array([_relative(rule.cost, once.large_cost, judges) for rule in rules]),
        np.array([rule.lost[judges].mean() for rule in rules]),
        np.array([rule.lost.mean() for rule in rules]),
    )


def _relative(cost: Floats, alone: Floats, rows: Rows) -> float:
    return float(cost[rows].sum() / alone[rows].sum())


def _judged(splits: Sequence[_Split], promise: Promise) -> Promised:
    most = most_lost(splits[0].n, promise)
    chosen = [(split, _cheapest(split, most)) for split in splits]
    lost = np.array([split.losses[rule] for split, rule in chosen])
    of_all = np.array([split.losses_of_all[rule] for split, rule in chosen])
    return Promised(
        promise,
        float(np.mean([split.costs[rule] for split, rule in chosen])),
        float(lost.mean()),
        float((of_all > promise.lose_at_most).mean()),
        float((lost > promise.lose_at_most).mean()),
    )


def _cheapest(split: _Split, most: int) -> int:
    """The last accepted rule of the ladder, which tries most; -1: none."""
    fails = np.flatnonzero(split.lost > most)
    return int(fails[0] if len(fails) else len(LADDER)) - 1
