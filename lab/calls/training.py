"""Trains the scorer of calls: two logistic regressions on the evidence, all scores out of fold, calibrated as the other
scorers are.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegressionCV

from lab.calls.answers import CallTable
from lab.training.errors import TooFew
from lab.training.fitting import Platt, fit_platt, folds
from lab.training.metrics import auroc as auroc_of
from lab.training.metrics import bootstrap, quality
from lab.training.table import Bools, Floats
from services.sufficiency_scorer.scorer_inputs import bag_of_words
from tandem.method.evidence.call_evidence import CALL_NAMES, TEXT_NAMES
from tandem.method.evidence.call_scorer import Regression, TrainedCalls, TrainedOn

Label = Literal["nothing_lost", "right"]
MIN_ANSWERS = 40
"""Fewer answers of a kind are not told apart."""
_MIN_ALIKE = 20
"""From so many on they have one score, so that a policy takes all of them or none."""
_PENALTIES = np.logspace(-4, 1, 11)
_INNER_FOLDS = 4


@dataclass(frozen=True)
class Trained:
    """`scores`: out of fold, float64[n], of each answer by its own kind; NaN where it is neither, or there are too few
    of its kind. Texts that are too few to be told apart have one score.
    `routed`: the same of the `router`, which knows the prompt's words alone, for every task.
    """

    scorer: TrainedCalls
    router: Regression | None
    scores: Floats
    routed: Floats


@dataclass(frozen=True)
class Source:
    """Where the answers come from: the tasks' hash, the pair (`Profile.call_fingerprint`), and the engine."""

    tasks_sha256: str
    pair: dict[str, str]
    computed_by: str


def train(table: CallTable, source: Source, label: Label = "nothing_lost", count: int = 5, seed: int = 0) -> Trained:
    """Raises TooFew."""
    targets = table.slm.right if label == "right" else table.nothing_lost()
    fold = folds(len(table), count, seed)
    of_calls = _cross_fit(table.evidence, CALL_NAMES, targets, table.has_calls, fold)
    if of_calls is None:
        raise TooFew(f"{int(table.has_calls.sum())} answers with calls are too few, or all have the same outcome")
    columns = [CALL_NAMES.index(name) for name in TEXT_NAMES]
    of_texts = _cross_fit(table.evidence[:, columns], TEXT_NAMES, targets, table.is_text, fold) or _alike(
        targets, table.is_text
    )
    words = words_of(table)
    names = tuple(map(str, range(words.shape[1])))
    of_words = _cross_fit(words, names, targets, np.ones(len(table), bool), fold)
    kinds = {"calls": _quality(of_calls.scores, targets)}
    if of_texts:
        kinds["texts"] = _quality(of_texts.scores, targets)
    about = TrainedOn(
        tasks_sha256=source.tasks_sha256, tasks=len(table), label=label, folds=count, seed=seed, kinds=kinds,
        versions={"scikit-learn": version("scikit-learn"), "python": platform.python_version()},
        command=" ".join(["tandem", *sys.argv[1:]]),
    )  # fmt: skip
    scorer = TrainedCalls(
        pair=source.pair, computed_by=source.computed_by, calls=of_calls.regression,
        texts=of_texts.regression if of_texts else None, trained_on=about,
    )  # fmt: skip
    nothing = np.full(len(table), np.nan)
    return Trained(
        scorer,
        of_words.regression if of_words else None,
        np.where(np.isnan(of_calls.scores), of_texts.scores if of_texts else nothing, of_calls.scores),
        of_words.scores if of_words else nothing,
    )


def words_of(table: CallTable) -> Floats:
    """Bags of words of the user's last turns."""
    return np.array([bag_of_words(text) for text in table.said], np.float64)


@dataclass(frozen=True)
class _CrossFit:
    regression: Regression
    scores: Floats


def _cross_fit(
    values: Floats, names: Sequence[str], targets: Bools, rows: Bools, fold: NDArray[np.intp]
) -> _CrossFit | None:
    """Fit on the `rows`: each is scored by a model of the other folds. None where there are too few, or all have the
    same outcome.
    """
    if rows.sum() < MIN_ANSWERS or min(targets[rows].sum(), (~targets[rows]).sum()) < _INNER_FOLDS * 2:
        return None
    logits = np.full(len(rows), np.nan)
    for held_out in np.unique(fold):
        scored = rows & (fold == held_out)
        if scored.any():
            logits[scored] = _fit(values[rows & ~scored], targets[rows & ~scored])(values[scored])
    platt = fit_platt(logits[rows], targets[rows])
    scores = np.full(len(rows), np.nan)
    scores[rows] = platt(logits[rows])
    return _CrossFit(_regression(_fit(values[rows], targets[rows]), names, platt), scores)


def _alike(targets: Bools, rows: Bools) -> _CrossFit | None:
    """One score for all of `rows`: how often one such answer more is right (Laplace). None where there are too few."""
    right, n = int(targets[rows].sum()), int(rows.sum())
    if n < _MIN_ALIKE:
        return None
    share = (right + 1) / (n + 2)
    offset = float(np.log(share / (1 - share)))
    regression = Regression(names=(), mean=(), spread=(), weight=(), offset=offset)
    return _CrossFit(regression, np.where(rows, share, np.nan))


@dataclass(frozen=True)
class _Linear:
    mean: Floats
    spread: Floats
    weight: Floats
    offset: float

    def __call__(self, values: Floats) -> Floats:
        logits: Floats = ((values - self.mean) / self.spread) @ self.weight + self.offset
        return logits


def _fit(values: Floats, targets: Bools) -> _Linear:
    """Logistic regression; its penalty minimises the cross-validated log-loss."""
    mean, spread = values.mean(axis=0), values.std(axis=0).clip(min=1e-6)
    model = LogisticRegressionCV(
        Cs=_PENALTIES,
        cv=_INNER_FOLDS,
        scoring="neg_log_loss",
        max_iter=2000,
        l1_ratios=(0,),
        use_legacy_attributes=False,
    ).fit((values - mean) / spread, targets)
    return _Linear(mean, spread, np.ravel(model.coef_), float(np.ravel(model.intercept_)[0]))


def _regression(fitted: _Linear, names: Sequence[str], platt: Platt) -> Regression:
    return Regression(
        names=tuple(names),
        mean=tuple(fitted.mean.tolist()),
        spread=tuple(fitted.spread.tolist()),
        weight=tuple((platt.slope * fitted.weight).tolist()),
        offset=platt.slope * fitted.offset + platt.offset,
    )


def _quality(scores: Floats, targets: Bools) -> dict[str, object]:
    rows = ~np.isnan(scores)
    scores, targets = scores[rows], targets[rows]
    found = auroc_interval(scores, targets)  # None where answers of one score all have the same outcome
    return {**asdict(quality(scores, targets)), "auroc_interval": list(found[1:]) if found else None}


def auroc_interval(scores: Floats, targets: Bools) -> tuple[float, float, float] | None:
    """AUROC with its 95 % interval over tasks; None where all have the same outcome."""
    if not targets.any() or targets.all():
        return None

    def resampled(rows: NDArray[np.intp]) -> float:
        found = auroc_of(scores[rows], targets[rows])
        return np.nan if found is None else found

    found = bootstrap(resampled, len(scores))
    return found.mean, found.low, found.high
