"""The errors of the paper's rule, from stage 0, by the oracle stage: the first from which the small model is right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lab.paper.answers import TESTS, judged
from lab.training.pricing import LLM

_RULE = "paper:zero"


@dataclass(frozen=True)
class Errors:
    """Of the n questions of a test set those that have an oracle stage, by where the rule stops: `early` before it,
    `exact` at it, `late` behind it, `large` where the large model answers. `lost`: stopped behind it, and are wrong.
    """

    test: str
    n: int
    early: int
    exact: int
    late: int
    large: int
    lost: int

    @property
    def known(self) -> int:
        return self.early + self.exact + self.late + self.large


def errors() -> Iterator[Errors]:
    for test in TESTS:
        answered = judged(test)
        right, outcome = answered.found.table.slm.right, answered.outcomes[_RULE]
        oracle = np.where(right.any(axis=1), right.argmax(axis=1), right.shape[1])
        is_known = oracle < right.shape[1]
        is_large = outcome.stage == LLM
        late = is_known & ~is_large & (outcome.stage > oracle)
        where = (~is_large & (outcome.stage < oracle), ~is_large & (outcome.stage == oracle), late, is_large)
        counts = [int((is_known & each).sum()) for each in (*where, late & ~outcome.right)]
        yield Errors(test, len(oracle), *counts)
