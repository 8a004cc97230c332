"""`tandem train`: every kind of model, judged out of fold; the best is fitted on all questions and described."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from services.common.profile import Profile
from services.sufficiency_scorer.artefact import Artefact, Description, Spread
from services.sufficiency_scorer.features import NAMES, compress
from services.sufficiency_scorer.network import SufficiencyNetwork
from training.collected import Collected
from training.estimators import ESTIMATORS, PLAIN, Examples, fit_linear
from training.fitting import (
    CrossFit,
    answer_examples,
    cross_fit,
    examples_of,
    fit_all,
    folds,
    learning_curve,
)
from training.metrics import auroc, bootstrap, quality, reliability
from training.study import CASCADE, Study, Training
from training.table import Floats, Table

FEWEST_QUESTIONS = 40
_CURVE = (0.25, 0.5, 0.75)


class TooFew(Exception):
    """Too few questions, or all of one outcome."""


def train(
    collected: Collected, profile: Profile, study: Study, kinds: Sequence[str], kind: str, count: int, seed: int,
    progress: Callable[[str], None],
) -> Training:  # fmt: skip
    """Fit `kinds` by cross-fitting over `count` folds, choose `kind` ("auto": least log-loss of those that can be served),
    fit it on all questions, and save the study.

    Raises TooFew.
    """
    table = collected.table
    n = len(table.questions)
    if n < FEWEST_QUESTIONS or table.slm.right[table.slm.exists].all() or not table.slm.right.any():
        raise TooFew(f"{n} questions are too few, or have all the same outcome; collect {FEWEST_QUESTIONS} at least")
    examples, fold = examples_of(table), folds(n, count, seed)
    found: dict[str, CrossFit] = {}
    for name in kinds:
        progress(f"{name}: {count} folds over {n} questions")
        found[name] = cross_fit(name, ESTIMATORS[name], examples, fold, seed)
    measured = {name: _metrics(found[name].scores, table) for name in kinds}
    served = [name for name in kinds if name != "boosting"]
    chosen = kind if kind != "auto" else min(served, key=lambda name: measured[name]["overall"]["log_loss"])
    progress(f"{chosen}: learning curve")
    curve = learning_curve(found[chosen], table, _CURVE, count, seed)
    artefacts = {}
    for name in served:
        fitted = fit_all(ESTIMATORS[name], examples, found[name].platt, seed)
        artefacts[name] = Artefact(fitted, _describe(name, fitted, collected, profile, measured[name], seed))
    if table.answer_features.any():
        progress("cascade: the small model's own answers")
        answers = answer_examples(table)
        found[CASCADE] = cross_fit(CASCADE, _fit_cascade, answers, fold, seed)
        network = fit_all(_fit_cascade, answers, found[CASCADE].platt, seed)
        artefacts[CASCADE] = Artefact(network, _describe(CASCADE, network, collected, profile, {}, seed))
    training = Training(
        profile=profile.name,
        chosen=chosen,
        questions=list(table.questions),
        folds=count,
        seed=seed,
        sources=collected.sources,
        kinds=measured,
        learning_curve=curve,
    )
    study.save_training(training, {name: fit.scores for name, fit in found.items()}, artefacts)
    return training


def _fit_cascade(examples: Examples, seed: int) -> SufficiencyNetwork:
    """Is the small model's own answer right? From the features of that answer."""
    return fit_linear(PLAIN, examples, seed)


def _metrics(scores: Floats, table: Table) -> dict[str, Any]:
    """Overall and by stage; the interval of the overall AUROC is over questions, whose passes go together."""
    there = table.slm.exists
    overall = vars(quality(scores[there], table.slm.right[there]))

    def resampled(rows: Any) -> float:
        part = there[rows]
        found = auroc(scores[rows][part], table.slm.right[rows][part])
        return np.nan if found is None else found

    interval = bootstrap(resampled, len(table.questions))
    stages = [vars(quality(scores[there[:, k], k], table.slm.right[there[:, k], k])) for k in range(table.stages)]
    return {
        "overall": overall,
        "auroc_interval": [interval.low, interval.high],
        "by_stage": stages,
        "reliability": reliability(scores[there], table.slm.right[there]),
    }


def _describe(
    kind: str, network: SufficiencyNetwork, collected: Collected, profile: Profile, metrics: dict[str, Any], seed: int
) -> Description:
    examples = examples_of(collected.table)
    compressed = compress(examples.batch.features.astype(np.float64))
    of_stage = [compressed[examples.batch.stage == k] for k in range(examples.stages)]
    return Description(
        kind=kind,
        features=list(NAMES),
        shape=network.shape.as_dict(),
        pair=profile.text_makers(),
        tokenizer_sha256=collected.origins[0].tokenizer_sha256,
        spread_by_stage=[Spread(mean=rows.mean(axis=0).tolist(), std=rows.std(axis=0).tolist()) for rows in of_stage],
        trained_on=collected.sources,
        metrics=metrics,
        versions={
            **{name: version(name) for name in ("torch", "scikit-learn", "numpy")},
            "python": platform.python_version(),
        },
        command=" ".join(["tandem", *sys.argv[1:]]),
        seed=seed,
    )
