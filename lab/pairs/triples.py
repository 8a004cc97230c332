"""Two small models of different families that agree, and a large one that answers where they do not: published answers,
by their verdicts.

Both small models are asked; where both give the same answer the first one's is taken, else the large model answers.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np

from lab.pairs.facts import FOLDER
from lab.training.lot import lot_at
from lab.training.metrics import Interval, bootstrap, difference_of_means, mcnemar
from lab.training.promise import upper_bound
from lab.training.table import Bools, Floats
from tandem.method.evidence.same_answer import NO_CALL, AnswerKind, Form, same


@dataclass(frozen=True, slots=True)
class Model:
    """`read` and `written`: USD a million tokens, as listed by providers (README of the facts)."""

    key: str
    name: str
    family: str
    read: float
    written: float


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A file of facts, with the small models that are asked together and the large ones that stand behind them.

    Without `takes_no_call` the large model answers where both small ones call nothing. `shows_alone`: the page has each
    small model by itself, once for the same replies.
    """

    file: str
    title: str
    form: Form
    small: tuple[tuple[Model, Model], ...]
    large: tuple[Model, ...]
    takes_no_call: bool = True
    column: str = "answer"  # of the facts: what is compared
    shows_alone: bool = True

    def takes(self, one: Reply, other: Reply) -> bool:
        may_take = self.takes_no_call or one.answer != NO_CALL
        return may_take and same(AnswerKind(self.form), one.answer, other.answer) is True


@dataclass(frozen=True, slots=True)
class Reply:
    """`answer`: in its normal form, or a hash or number of that; empty where none can be compared. `tokens`: read and
    written.
    """

    answer: str
    right: bool
    tokens: tuple[float, float]


@dataclass(frozen=True)
class Triple:
    """n tasks that all three models answered. `disputed`: the two say the `same`, and the large one something else.
    Costs are USD for a million tasks.
    """

    benchmark: Benchmark
    first: Model
    second: Model
    large: Model
    same: Bools
    disputed: Bools
    first_right: Bools
    second_right: Bools
    large_right: Bools
    costs: tuple[Floats, Floats, Floats]

    @property
    def n(self) -> int:
        return len(self.same)


@dataclass(frozen=True)
class Agreed:
    """What the rule comes to. Shares of all tasks with 95 % intervals (bootstrap over tasks, paired)."""

    n: int
    right: tuple[float, float, float]
    taken: float
    right_of_taken: float
    # Less the large model alone, and McNemar's exact p-value.
    difference: Interval
    p_value: float
    # Tasks whose taken answer is wrong where the large model's is right, and the exact one-sided 95 % bound of their
    # share.
    lost: int
    bound: float
    # Of the large model's.
    cost: Interval
    first_alone: float
    # Less the large model: a lot between the first small model and the large one at the same cost. None: no lot costs
    # as much.
    lot: float | None


def agreed(triple: Triple) -> Agreed:
    of_first, of_second, of_large = triple.costs
    ours = np.where(triple.same, triple.first_right, triple.large_right)
    cost = of_first + of_second + np.where(triple.same, 0.0, of_large)
    lost = int((triple.same & ~triple.first_right & triple.large_right).sum())
    return Agreed(
        triple.n,
        (float(triple.first_right.mean()), float(triple.second_right.mean()), float(triple.large_right.mean())),
        float(triple.same.mean()),
        float(triple.first_right[triple.same].mean()),
        difference_of_means(ours, triple.large_right),
        mcnemar(ours, triple.large_right),
        lost,
        upper_bound(lost, triple.n, 0.95),
        bootstrap(lambda rows: float(cost[rows].sum() / of_large[rows].sum()), triple.n),
        float(of_first.sum() / of_large.sum()),
        lot_at(float(cost.mean()), (of_first, triple.first_right), (of_large, triple.large_right)),
    )


def alone(found: Sequence[Triple]) -> dict[str, list[tuple[float, float]]]:
    """Return, for each small model beside each large one, the share that it answers right, less the large model's, and
    its cost as a share of the large model's; by the small model's name.
    """
    by_pair = {
        (model.name, triple.large.name): (float(right.mean() - triple.large_right.mean()), float(cost.sum() / large))
        for triple in found
        for large in [triple.costs[2].sum()]
        for model, right, cost in (
            (triple.first, triple.first_right, triple.costs[0]),
            (triple.second, triple.second_right, triple.costs[1]),
        )
    }
    names = dict.fromkeys(name for name, _ in by_pair)
    return {name: [figures for (small, _), figures in by_pair.items() if small == name] for name in names}


def triples(benchmark: Benchmark) -> list[Triple]:
    facts = read_replies(benchmark.file, benchmark.column)
    return [_triple(benchmark, facts, *pair, large) for pair, large in product(benchmark.small, benchmark.large)]


def _triple(
    benchmark: Benchmark, facts: dict[str, dict[str, Reply]], first: Model, second: Model, large: Model
) -> Triple:
    models = (first, second, large)
    tasks = [task for task in facts[first.key] if all(task in facts[model.key] for model in models)]
    a, b, c = ([facts[model.key][task] for task in tasks] for model in models)
    agree = np.array([benchmark.takes(x, y) for x, y in zip(a, b, strict=True)])
    by_large = np.array([benchmark.takes(x, z) for x, z in zip(a, c, strict=True)])
    return Triple(
        benchmark,
        *models,
        same=agree,
        disputed=agree & ~by_large,
        first_right=_right(a),
        second_right=_right(b),
        large_right=_right(c),
        costs=(_cost(a, first), _cost(b, second), _cost(c, large)),
    )


def _right(replies: Sequence[Reply]) -> Bools:
    return np.array([reply.right for reply in replies])


def _cost(replies: Sequence[Reply], model: Model) -> Floats:
    return np.array([reply.tokens[0] * model.read + reply.tokens[1] * model.written for reply in replies])


@cache
def read_replies(file: str, column: str = "answer") -> dict[str, dict[str, Reply]]:
    """By model and task."""
    with gzip.open(FOLDER / f"{file}.csv.gz", "rt", newline="") as lines:
        rows = list(csv.DictReader(lines))
    found: dict[str, dict[str, Reply]] = {}
    for row in rows:
        found.setdefault(row["model"], {})[row["task"]] = Reply(
            row[column], row["right"] == "1", (float(row["tokens_in"]), float(row["tokens_out"]))
        )
    return found
