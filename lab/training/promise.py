"""A promise: at most so many questions are lost, with a confidence (docs/method.md, A promise).

A question is lost where the policy's answer is wrong and the large model's own answer is right. Learn-then-test
(Angelopoulos et al. 2021) with fixed-sequence testing: policies are tested from the strictest on, each with an exact
binomial bound, and the first that fails ends the test. So the chance that any accepted policy loses more than promised
is at most 1 - confidence, however many were tested, if the questions chose nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from scipy.stats import beta

_MOST_QUESTIONS = 10_000_000


@dataclass(frozen=True)
class Promise:
    """`lose_at_most` is a share of all questions, 0..1: 0.05 is 5 points of accuracy."""

    lose_at_most: float
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if not 0 < self.lose_at_most < 1:
            raise ValueError(f"a share between 0 and 1 may be lost, not {self.lose_at_most}")
        if not 0.5 <= self.confidence < 1:
            raise ValueError(f"a confidence is at least 0.5 and below 1, not {self.confidence}")

    def is_kept(self, lost: int, n: int) -> bool:
        """Whether `lost` of `n` questions show it."""
        return upper_bound(lost, n, self.confidence) <= self.lose_at_most


def upper_bound(lost: int, n: int, confidence: float) -> float:
    """The largest share that `lost` of `n` does not refute: Clopper and Pearson's exact one-sided bound."""
    return 1.0 if lost >= n else float(beta.ppf(confidence, lost + 1, n - lost))


def num_accepted(lost: Sequence[int], n: int, promise: Promise) -> int:
    """How many policies keep the promise, of those that lost so many of `n` questions, the strictest first."""
    for number, each in enumerate(lost):
        if not promise.is_kept(each, n):
            return number
    return len(lost)


def most_lost(n: int, promise: Promise) -> int:
    """Of `n` questions, so many may be lost; -1: too few to show the promise even if none is."""
    kept = np.arange(n + 1)
    bounds = beta.ppf(promise.confidence, kept[:-1] + 1, n - kept[:-1])
    return int((bounds <= promise.lose_at_most).sum()) - 1


def questions_needed(promise: Promise, share_lost: float = 0.0) -> int | None:
    """The least number that shows the promise for a policy that loses this share; None where no number does."""
    if share_lost >= promise.lose_at_most:
        return None
    low, high = 0, 1
    while not _is_shown(promise, share_lost, high):
        low, high = high, 2 * high
        if high > _MOST_QUESTIONS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _is_shown(promise, share_lost, middle) else (middle, high)
    return high


def _is_shown(promise: Promise, share_lost: float, n: int) -> bool:
    return promise.is_kept(ceil(share_lost * n - 1e-9), n)
