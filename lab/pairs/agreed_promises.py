"""What `tandem calibrate --lose-at-most` says of the triples: without a label, with the disputes labelled, and with a
label of all that is taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lab.disputes.promised import Counted
from lab.pairs.triples import Triple
from lab.training.looks import at_look
from lab.training.promise import Promise
from lab.training.table import Rows

PROMISE = Promise(0.03)
HALVES = 200


@dataclass(frozen=True)
class AgreedPromise:
    """`disputes` are Counted with all of them labelled. Of the HALVES, each with its disputes labelled: `accepted`, the
    share that shows the promise; `lost`, the mean share that is lost on the other half of these (0 where there are
    none); `broken`, the share that shows it though more than promised is lost on all tasks; `above`: though more is
    lost on the other half.
    """

    counted: Counted
    without_labels: bool
    with_disputes: bool
    with_all: bool
    accepted: float
    lost: float
    broken: float
    above: float


def agreed_promise(triple: Triple, promise: Promise = PROMISE, seed: int = 0) -> AgreedPromise:
    """At the first look."""
    first, generator = at_look(promise, 1), np.random.default_rng(seed)
    everything = np.arange(triple.n)
    lost = triple.same & ~triple.first_right & triple.large_right
    counted = _counted(triple, everything)
    shown, above, others = 0, 0, list[float]()
    for _ in range(HALVES):
        order = generator.permutation(everything)
        chooses, judges = order[: triple.n // 2], order[triple.n // 2 :]
        if _counted(triple, chooses).is_kept(first):
            shown += 1
            others.append(float(lost[judges].mean()))
            above += others[-1] > promise.lose_at_most
    return AgreedPromise(
        counted,
        Counted(triple.n, counted.taken, counted.disputes).is_kept(first),
        counted.is_kept(first),
        first.is_kept(int(lost.sum()), triple.n),
        shown / HALVES,
        float(np.mean(others)) if others else 0.0,
        shown / HALVES if lost.mean() > promise.lose_at_most else 0.0,
        above / HALVES,
    )


def _counted(triple: Triple, rows: Rows) -> Counted:
    disputed = triple.disputed[rows]
    lost = disputed & ~triple.first_right[rows] & triple.large_right[rows]
    disputes = int(disputed.sum())
    return Counted(len(rows), int(triple.same[rows].sum()), disputes, disputes, int(lost.sum()))
