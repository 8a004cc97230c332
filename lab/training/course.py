"""What happens on each question under a method, before anything is priced: answers, and tokens by role."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from lab.training.table import Bools, Floats, Table
from tandem.method.result import Usage
from tandem.method.tokens import TokenCounts

LLM = -1  # the "stage" of an answer that the large model finished

Stages = NDArray[np.intp]
_KINDS = "prompt", "cached", "completion", "overrun", "discarded"


@dataclass(frozen=True)
class Course:
    """Arrays over n questions. `stage` is the stage of the answer, LLM for the large model's own; counts hold float64[n].

    `read` counts the large model's tokens that the small one read. `check_seconds` is the checks' processor time;
    `overlap_seconds` the time in which both models worked, which counts once for the latency.
    """

    right: Bools
    truncated: Bools
    stage: Stages
    llm: TokenCounts
    slm: TokenCounts
    scorer: TokenCounts
    read: Floats
    check_seconds: Floats
    overlap_seconds: Floats

    @property
    def usage(self) -> Usage:
        return Usage(self.llm, self.slm, self.scorer)

    def with_slm(self, more: TokenCounts, check_seconds: Floats) -> Course:
        """After work of the small model that led to none of these answers."""
        return replace(self, slm=self.slm + more, check_seconds=self.check_seconds + check_seconds)


def course(
    right: Bools, truncated: Bools, stage: Stages, llm: TokenCounts | None = None, slm: TokenCounts | None = None,
    scorer: TokenCounts | None = None, read: Floats | float = 0.0,
) -> Course:  # fmt: skip
    """Counts may hold scalars, which are the same for every question."""
    n = len(right)
    return Course(
        right=right.astype(bool),
        truncated=truncated.astype(bool),
        stage=stage,
        llm=_spread(llm or TokenCounts(), n),
        slm=_spread(slm or TokenCounts(), n),
        scorer=_spread(scorer or TokenCounts(), n),
        read=spread(read, n),
        check_seconds=np.zeros(n),
        overlap_seconds=np.zeros(n),
    )


def where(mask: Bools, a: Course, b: Course) -> Course:
    """`a` on the questions of the mask, `b` on the others."""
    return Course(*(_choose(mask, getattr(a, f.name), getattr(b, f.name)) for f in fields(Course)))


def counts_where(mask: Bools, a: TokenCounts, b: TokenCounts | None = None) -> TokenCounts:
    """`a` on the questions of the mask, elsewhere `b`, or nothing."""
    return cast(TokenCounts, _choose(mask, a, b or TokenCounts()))


def tokens(
    prompt: Floats | float = 0.0, completion: Floats | float = 0.0, overrun: Floats | float = 0.0
) -> TokenCounts:
    """Counts that hold arrays."""
    return TokenCounts(prompt=cast(Any, prompt), completion=cast(Any, completion), overrun=cast(Any, overrun))


def everywhere(table: Table, stage: int) -> Stages:
    return np.full(len(table.questions), stage, np.intp)


def spread(value: object, n: int) -> Floats:
    """float64[n], also from a scalar."""
    return np.broadcast_to(np.asarray(value, np.float64), (n,)).copy()


def _spread(counts: TokenCounts, n: int) -> TokenCounts:
    return TokenCounts(*(cast(Any, spread(getattr(counts, kind), n)) for kind in _KINDS))


def _choose(mask: Bools, a: Any, b: Any) -> Any:
    if isinstance(a, TokenCounts):
        return TokenCounts(*(np.where(mask, getattr(a, kind), getattr(b, kind)) for kind in _KINDS))
    return np.where(mask, a, b)
