"""Quality of probabilities (AUROC, ECE, Brier score, log-loss), and 95 % intervals.

Wilson intervals, exact tests, Brier score and log-loss are scipy's and scikit-learn's. Own code is left where theirs
does not fit: `scipy.stats.bootstrap` (same resamples, same interval) refuses a single question and returns NaN if any
resample is undefined, as the oracle gap can be; `roc_auc_score` is 15 times slower, which counts inside a bootstrap;
and `calibration_curve` bins by quantile edges, which tied scores make unequal. Both libraries take seconds to import,
so that is done where they are used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lab.training.table import Bools, Floats
from services.sufficiency_scorer.artefact import Quality, ScorerMetrics

_BINS = 10
_RESAMPLES = 2000
_EPSILON = 1e-6  # probabilities are clipped to [1e-6, 1 - 1e-6] for the log-loss


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def quality(probability: Floats, target: Bools) -> Quality:
    """Of n predictions: `probability` float64[n] in 0..1, `target` bool[n]. Zeros for a stage that no question
    reached.
    """
    if not len(target):
        return Quality(n=0, right=0.0, auroc=None, ece=0.0, brier=0.0, log_loss=0.0)
    from sklearn.metrics import brier_score_loss, log_loss

    clipped = np.clip(probability, _EPSILON, 1 - _EPSILON)
    return Quality(
        n=len(target),
        right=float(target.mean()),
        auroc=auroc(probability, target),
        ece=expected_calibration_error(probability, target),
        brier=float(brier_score_loss(target, clipped)),
        log_loss=float(log_loss(target, clipped, labels=[False, True])),
    )


def quality_by_stage(scores: Floats, exists: Bools, targets: Bools) -> list[Quality]:
    """Per stage, from arrays [n, K + 1]; `exists` masks the scoring passes that were made."""
    return [quality(scores[exists[:, k], k], targets[exists[:, k], k]) for k in range(scores.shape[1])]


def scorer_metrics(scores: Floats, exists: Bools, targets: Bools) -> ScorerMetrics:
    """Overall and by stage, from arrays [n, K + 1].

    The interval of the overall AUROC resamples questions: the passes of one question are not independent.
    """

    def resampled(rows: NDArray[np.intp]) -> float:
        part = exists[rows]
        found = auroc(scores[rows][part], targets[rows][part])
        return np.nan if found is None else found

    interval = bootstrap(resampled, len(scores))
    return ScorerMetrics(
        overall=quality(scores[exists], targets[exists]),
        auroc_interval=(interval.low, interval.high),
        by_stage=quality_by_stage(scores, exists, targets),
        reliability=reliability(scores[exists], targets[exists]),
    )


def auroc(probability: Floats, target: Bools) -> float | None:
    """Area under the ROC curve from the Mann-Whitney U statistic; None if all targets are equal."""
    from scipy.stats import rankdata

    positives, negatives = int(target.sum()), int((~target).sum())
    if not positives or not negatives:
        return None
    u = rankdata(probability)[target].sum() - positives * (positives + 1) / 2
    return float(u / (positives * negatives))


def reliability(probability: Floats, target: Bools) -> list[tuple[float, float, int]]:
    """(mean probability, share of positives, n) of ten groups of equal size, by ascending probability."""
    order = np.argsort(probability, kind="stable")
    groups = [rows for rows in np.array_split(order, _BINS) if len(rows)]
    return [(float(probability[rows].mean()), float(target[rows].mean()), len(rows)) for rows in groups]


def expected_calibration_error(probability: Floats, target: Bools) -> float:
    """Mean |predicted - observed| over groups of equal size (Guo et al. 2017, with adaptive bins)."""
    groups = reliability(probability, target)
    return float(sum(n * abs(predicted - observed) for predicted, observed, n in groups) / len(target))


def accuracy(right: Bools) -> Interval:
    """With Wilson's interval."""
    from scipy.stats import binomtest

    found = binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")
    return Interval(float(right.mean()), float(found.low), float(found.high))


def mcnemar(ours: Bools, theirs: Bools) -> float:
    """Two-sided p-value of McNemar's exact test; 1 without discordant pairs."""
    from scipy.stats import binomtest

    only_ours, only_theirs = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    return float(binomtest(only_ours, only_ours + only_theirs).pvalue) if only_ours + only_theirs else 1.0


def nothing_seen(n: int) -> Interval:
    """The difference where none of n answers is right in one alone, which leaves a bootstrap nothing to draw: the exact
    bounds, 95 % each, of how many may be. 0 of 123 is at most 2.4 %.
    """
    most = 1 - 0.05 ** (1 / n)
    return Interval(0.0, -most, most)


def difference_of_means(ours: Floats | Bools, theirs: Floats | Bools) -> Interval:
    """`ours` less `theirs` on the same questions, with a paired bootstrap interval, or `nothing_seen`."""
    if ours.dtype == bool and np.array_equal(ours, theirs):
        return nothing_seen(len(ours))
    return bootstrap(lambda rows: float(ours[rows].mean() - theirs[rows].mean()), len(ours))


def ratio_of_means(ours: Floats, theirs: Floats) -> Interval:
    """Ratio of the mean costs of two methods on the same questions, with a paired bootstrap interval."""
    return bootstrap(lambda rows: float(ours[rows].mean() / theirs[rows].mean()), len(ours))


def bootstrap(statistic: Callable[[NDArray[np.intp]], float], n: int, seed: int = 0) -> Interval:
    """Percentile bootstrap of `statistic(rows)` over n questions; paired, as both methods see the same rows.

    Resamples whose statistic is NaN are left out.
    """
    generator = np.random.default_rng(seed)
    drawn = [statistic(generator.integers(0, n, n)) for _ in range(_RESAMPLES)]
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Interval(statistic(np.arange(n)), float(low), float(high))
