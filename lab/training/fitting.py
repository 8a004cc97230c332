"""Cross-fitting: all scores that a policy or a figure rests on are out of fold.

Questions are assigned to folds; the model that scores a fold is fitted on the other folds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from lab.training.estimators import Examples, Fit
from lab.training.table import Bools, Floats, Table
from services.sufficiency_scorer.artefact import Label
from services.sufficiency_scorer.network import SufficiencyNetwork
from services.sufficiency_scorer.scorer_inputs import ScorerInputsBatch


@dataclass(frozen=True)
class Platt:
    """Probability = logistic(slope * logit + offset) (Platt 1999)."""

    slope: float
    offset: float

    def __call__(self, logits: Floats) -> Floats:
        calibrated: Floats = expit(self.slope * logits + self.offset)
        return calibrated


@dataclass(frozen=True)
class CrossFit:
    """`scores` float64[n, K + 1]: calibrated, out of fold; NaN where the stage does not exist."""

    kind: str
    scores: Floats
    platt: Platt


def examples_of(table: Table, label: Label) -> Examples:
    """Every scoring pass of the table, one row each."""
    rows, stages = np.nonzero(table.slm.exists)
    batch = ScorerInputsBatch(
        stages.astype(np.int64),
        table.slm.prompt[rows, stages].astype(np.float32),
        table.features[rows, stages],
        table.states[rows, stages],
        table.words[rows],
    )
    return Examples(batch, table.targets(label)[rows, stages], rows, table.stages)


def with_extra(fit: Fit, extra: Examples | None) -> Fit:
    """`fit` that also learns from `extra` examples, which are in no fold."""
    return fit if extra is None else lambda examples, seed: fit(examples.concat(extra), seed)


def answer_examples(table: Table) -> Examples:
    """The small model's answers to the bare question, from which a cascade learns when to accept one."""
    n = len(table.questions)
    batch = ScorerInputsBatch(
        np.zeros(n, np.int64),
        table.slm.tokens[:, 0].astype(np.float32),
        table.answer_features,
        table.states[:, 0],
        table.words,
    )
    return Examples(batch, table.slm.right[:, 0], np.arange(n), 1)


def folds(n: int, count: int, seed: int) -> NDArray[np.intp]:
    """The fold of each of n questions; sizes differ by at most one."""
    assigned: NDArray[np.intp] = np.random.default_rng(seed).permutation(np.arange(n) % count)
    return assigned


def fit_platt(logits: Floats, targets: Bools) -> Platt:
    model = LogisticRegression(C=np.inf).fit(logits[:, None], targets)
    return Platt(float(model.coef_[0, 0]), float(model.intercept_[0]))


def as_grid(values: Floats, examples: Examples, n: int) -> Floats:
    """float64[n, K + 1] from one value per example; NaN where the stage does not exist."""
    grid = np.full((n, examples.stages), np.nan)
    grid[examples.question, examples.batch.stage] = values
    return grid


def cross_fit(kind: str, fit: Fit, examples: Examples, fold: NDArray[np.intp], seed: int) -> CrossFit:
    """Score each question with a model fitted on the other folds; `fold` int[questions]."""
    logits = np.zeros(len(examples.targets))
    for held_out in np.unique(fold):
        rows = fold[examples.question] == held_out
        logits[rows] = fit(examples.take(~rows), seed).logits(examples.batch.take(rows))
    platt = fit_platt(logits, examples.targets)
    return CrossFit(kind, as_grid(platt(logits), examples, len(fold)), platt)


def fit_all(fit: Fit, examples: Examples, platt: Platt, seed: int) -> SufficiencyNetwork:
    """Fit on all questions, with the calibration of the out-of-fold logits. `fit` must return a SufficiencyNetwork."""
    fitted = fit(examples, seed)
    assert isinstance(fitted, SufficiencyNetwork)
    return fitted.having({"slope": platt.slope, "offset": platt.offset})
