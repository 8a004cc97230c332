"""How good probabilities are: discrimination (AUROC), calibration (ECE, Brier), and intervals of what is counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, rankdata
from sklearn.metrics import brier_score_loss, log_loss

from training.table import Bools, Floats

_BINS = 10
_RESAMPLES = 2000
_MOST_SURE = 1e-6


@dataclass(frozen=True)
class Quality:
    """Of n predictions. `auroc` is None where all outcomes are alike."""

    n: int
    right: float
    auroc: float | None
    ece: float
    brier: float
    log_loss: float


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def quality(probability: Floats, right: Bools) -> Quality:
    clipped = np.clip(probability, _MOST_SURE, 1 - _MOST_SURE)
    return Quality(
        n=len(right),
        right=float(right.mean()),
        auroc=auroc(probability, right),
        ece=expected_calibration_error(probability, right),
        brier=float(brier_score_loss(right, clipped)),
        log_loss=float(log_loss(right, clipped, labels=[False, True])),
    )


def quality_by_stage(scores: Floats, there: Bools, enough: Bools) -> list[Quality]:
    """For each stage, of [n, K + 1] each; `there` says which passes exist."""
    return [quality(scores[there[:, k], k], enough[there[:, k], k]) for k in range(scores.shape[1])]


def auroc(probability: Floats, right: Bools) -> float | None:
    """By ranks: the share of pairs of a right and a wrong answer in which the right one has the higher score."""
    positives, negatives = int(right.sum()), int((~right).sum())
    if not positives or not negatives:
        return None
    above = rankdata(probability)[right].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def reliability(probability: Floats, right: Bools) -> list[tuple[float, float, int]]:
    """(mean probability, share of right answers, n) of ten groups of equal size, from unsure to sure."""
    order = np.argsort(probability, kind="stable")
    groups = [rows for rows in np.array_split(order, _BINS) if len(rows)]
    return [(float(probability[rows].mean()), float(right[rows].mean()), len(rows)) for rows in groups]


def expected_calibration_error(probability: Floats, right: Bools) -> float:
    """Mean distance of what was promised from what came, over groups of equal size (Guo et al. 2017, adaptive bins)."""
    return float(sum(n * abs(said - came) for said, came, n in reliability(probability, right)) / len(right))


def accuracy(right: Bools) -> Interval:
    """With Wilson's interval."""
    found = binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")
    return Interval(float(right.mean()), float(found.low), float(found.high))


def mcnemar(ours: Bools, theirs: Bools) -> float:
    """Two-sided exact p of McNemar's test: are the questions that only one of them has right evenly spread?"""
    only_ours, only_theirs = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    return float(binomtest(only_ours, only_ours + only_theirs).pvalue) if only_ours + only_theirs else 1.0


def ratio_of_means(ours: Floats, theirs: Floats) -> Interval:
    """Of two costs of the same questions, with its paired bootstrap interval."""
    return bootstrap(lambda rows: float(ours[rows].mean() / theirs[rows].mean()), len(ours))


def bootstrap(statistic: Callable[[NDArray[np.intp]], float], n: int, seed: int = 0) -> Interval:
    """Percentile interval of `statistic(rows)` over resampled questions: paired, when it compares two ways on the rows."""
    generator = np.random.default_rng(seed)
    drawn = [statistic(generator.integers(0, n, n)) for _ in range(_RESAMPLES)]
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Interval(statistic(np.arange(n)), float(low), float(high))
