"""Fitting without fooling oneself: every score that a policy or a figure rests on comes from a model that never saw the
question. The questions are dealt into folds; what is fitted on the others scores those of the fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from services.sufficiency_scorer.artefact import Label
from services.sufficiency_scorer.evidence import EvidenceBatch
from services.sufficiency_scorer.network import SufficiencyNetwork
from training.estimators import Examples, Fit
from training.metrics import quality
from training.table import Bools, Floats, Table


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
    batch = EvidenceBatch(
        stages.astype(np.int64),
        table.slm.prompt[rows, stages].astype(np.float32),
        table.features[rows, stages],
        table.states[rows, stages],
        table.words[rows],
    )
    return Examples(batch, table.enough(label)[rows, stages], rows, table.stages)


def with_more(fit: Fit, more: Examples | None) -> Fit:
    """`fit` on `more` questions as well, which nothing is judged on."""
    return fit if more is None else lambda examples, seed: fit(examples.plus(more), seed)


def answer_examples(table: Table) -> Examples:
    """The small model's own answers to the bare question: what a cascade learns to trust."""
    n = len(table.questions)
    batch = EvidenceBatch(
        np.zeros(n, np.int64),
        table.slm.tokens[:, 0].astype(np.float32),
        table.answer_features,
        table.states[:, 0],
        table.words,
    )
    return Examples(batch, table.slm.right[:, 0], np.arange(n), 1)


def folds(n: int, count: int, seed: int) -> NDArray[np.intp]:
    """The fold of each question, dealt out evenly."""
    dealt: NDArray[np.intp] = np.random.default_rng(seed).permutation(np.arange(n) % count)
    return dealt


def fit_platt(logits: Floats, enough: Bools) -> Platt:
    model = LogisticRegression(C=np.inf).fit(logits[:, None], enough)
    return Platt(float(model.coef_[0, 0]), float(model.intercept_[0]))


def as_grid(values: Floats, examples: Examples, n: int) -> Floats:
    grid = np.full((n, examples.stages), np.nan)
    grid[examples.question, examples.batch.stage] = values
    return grid


def cross_fit(kind: str, fit: Fit, examples: Examples, fold: NDArray[np.intp], seed: int) -> CrossFit:
    """Each question's passes are scored by a model that was fitted without its fold; `fold` int[questions]."""
    logits = np.zeros(len(examples.enough))
    for held in np.unique(fold):
        there = fold[examples.question] == held
        logits[there] = fit(examples.take(~there), seed).logits(examples.batch.take(there))
    platt = fit_platt(logits, examples.enough)
    return CrossFit(kind, as_grid(platt(logits), examples, len(fold)), platt)


def fit_all(fit: Fit, examples: Examples, platt: Platt, seed: int) -> SufficiencyNetwork:
    """On every question, calibrated by what the folds have taught. `fit` is one whose model can be served."""
    fitted = fit(examples, seed)
    assert isinstance(fitted, SufficiencyNetwork)
    fitted.slope.fill_(platt.slope)
    fitted.offset.fill_(platt.offset)
    return fitted


def learning_curve(
    whole: CrossFit, table: Table, label: Label, fit: Fit, shares: Sequence[float], count: int, seed: int
) -> list[tuple[int, float | None, float]]:
    """(questions, AUROC, log-loss) out of fold, on the first parts of the questions, as they were drawn, and on all."""
    curve = []
    for share in shares:
        part = table.take(np.arange(int(len(table.questions) * share)))
        fold = folds(len(part.questions), count, seed)
        found = cross_fit(whole.kind, fit, examples_of(part, label), fold, seed)
        curve.append(_curve_point(found, part, label))
    return [*curve, _curve_point(whole, table, label)]


def _curve_point(found: CrossFit, table: Table, label: Label) -> tuple[int, float | None, float]:
    there = table.slm.exists
    of = quality(found.scores[there], table.enough(label)[there])
    return len(table.questions), of.auroc, of.log_loss
