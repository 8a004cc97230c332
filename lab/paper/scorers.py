"""Which scorer tells when to stop, out of fold, and what of it carries to other kinds of questions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lab.paper.answers import STUDY, TRAINING, collected
from lab.paper.methods import TESTS
from lab.training.estimators import ESTIMATORS, Fit, fit_mlp
from lab.training.fitting import CrossFit, as_grid, cross_fit, examples_of, folds
from lab.training.metrics import Interval, difference_of_means, ratio_of_means, scorer_metrics
from lab.training.names import BOOSTING
from lab.training.outcomes import llm_alone
from lab.training.policy import tune_for_accuracy
from lab.training.table import Bools, Floats, Table
from services.sufficiency_scorer.artefact import Label

FITS: dict[str, Fit] = {
    "the paper's MLP": fit_mlp,
    "logistic regression": ESTIMATORS["logistic"],
    "gradient boosting": ESTIMATORS[BOOSTING],
}
"""On the 16 features; all but the first also on the stage and the prompt's length."""
SERVED = {
    "mlp": "the paper's MLP",
    "logistic": "logistic regression",
    BOOSTING: "gradient boosting",
    "probe": "hidden states",
    "words": "the question's words",
}
KINDS = {"MATH": "math_train", "word problems": "word_problems", "MBPP": "mbpp_train"}
TRANSFERRED = ("the paper's MLP", "logistic regression")
_FOLDS, _SEED = 5, 0


@dataclass(frozen=True)
class Quality:
    """`overall`: AUROC over all stages, its interval resamples questions. `f1` of scores from 0.5 on."""

    n: int
    overall: Interval
    f1: float


def out_of_fold(kind: str, fit: str) -> Quality:
    """For the paper's label, of one kind of questions, trained on the other folds of the same kind."""
    table = collected(KINDS[kind]).table
    return _quality(_cross_fit(table, FITS[fit], "right").scores, table, "right")


def of_study(kind: str, scorer: str) -> Quality:
    """The shipped pair's scorers, for the label "nothing lost": trained on MATH and word problems together; out of
    fold.
    """
    table = collected(KINDS[kind]).table
    return _quality(STUDY.scores(scorer, table), table, "nothing_lost")


def f1(positive: Bools, target: Bools) -> float:
    """Harmonic mean of precision and recall; 0 without a true positive."""
    hits = int((positive & target).sum())
    return 2 * hits / int(positive.sum() + target.sum()) if hits else 0.0


@dataclass(frozen=True)
class Transfer:
    """A scorer trained on `source` and judged on a test set; `accuracy` and `cost` of the paper's rule from stage 0,
    less and relative to the large model alone, with thresholds of the source.
    """

    source: str
    test: str
    fit: str
    found: Quality
    accuracy: Interval
    cost: Interval


def transfers() -> Iterator[Transfer]:
    """Label "right", which is the paper's."""
    for fit in TRANSFERRED:
        for source, files in TRAINING.items():
            learned = collected(*files).table
            fitted = _cross_fit(learned, FITS[fit], "right")
            model = FITS[fit](examples_of(learned, "right"), _SEED)
            policy = tune_for_accuracy(learned, collected(*files).plan, fitted.scores, first=0)
            for test in TESTS:
                found = collected(test)
                examples = examples_of(found.table, "right")
                scores = as_grid(fitted.platt(model.logits(examples.batch)), examples, len(found.table.questions))
                outcome, alone = policy.run(found.table, found.plan, scores), llm_alone(found.table, found.plan)
                yield Transfer(
                    source, test, fit, _quality(scores, found.table, "right"),
                    difference_of_means(outcome.right, alone.right), ratio_of_means(outcome.full, alone.full),
                )  # fmt: skip


def _cross_fit(table: Table, fit: Fit, label: Label) -> CrossFit:
    return cross_fit("", fit, examples_of(table, label), folds(len(table.questions), _FOLDS, _SEED), _SEED)


def _quality(scores: Floats, table: Table, label: Label) -> Quality:
    exists, targets = table.slm.exists, table.targets(label)
    found = scorer_metrics(scores, exists, targets)
    mean, (low, high) = found.overall.auroc, found.auroc_interval
    return Quality(
        len(table.questions),
        Interval(np.nan if mean is None else mean, low, high),
        f1(scores[exists] >= 0.5, targets[exists]),
    )
