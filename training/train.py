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
from services.sufficiency_scorer.features import NAMES
from services.sufficiency_scorer.network import SufficiencyNetwork
from training.collected import Collected
from training.estimators import PLAIN, fit_linear
from training.fitting import (
    CrossFit,
    answer_examples,
    as_grid,
    cross_fit,
    cross_fit_kind,
    examples_of,
    fit_all,
    fit_platt,
    folds,
    learning_curve,
)
from training.metrics import auroc, bootstrap, quality, reliability
from training.study import CASCADE, Study, Training
from training.table import Floats, Table

FEWEST_QUESTIONS = 40
_CURVE = (0.25, 0.5, 0.75, 1.0)


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
    fold = folds(n, count, seed)
    found: dict[str, CrossFit] = {}
    for name in kinds:
        progress(f"{name}: {count} folds over {n} questions")
        found[name] = cross_fit_kind(name, table, fold, seed)
    measured = {name: _metrics(found[name].scores, table) for name in kinds}
    served = [name for name in kinds if name != "boosting"]
    chosen = kind if kind != "auto" else min(served, key=lambda name: measured[name]["overall"]["log_loss"])
    progress(f"{chosen}: learning curve")
    curve = learning_curve(chosen, table, _CURVE, count, seed)
    artefacts = {}
    for name in served:
        fitted = fit_all(name, table, found[name].platt, seed)
        assert isinstance(fitted, SufficiencyNetwork)
        artefacts[name] = Artefact(fitted, _describe(name, fitted, collected, profile, measured[name], seed))
    scores = {name: fit.scores for name, fit in found.items()}
    if table.answer_features.any():
        progress("cascade: the small model's own answers")
        network, scores[CASCADE] = _cascade(table, fold, seed)
        artefacts[CASCADE] = Artefact(network, _describe(CASCADE, network, collected, profile, {}, seed))
    training = Training(
        profile=profile.name,
        chosen=chosen,
        questions=list(table.questions),
        folds=count,
        seed=seed,
        sources=collected.sources(),
        kinds=measured,
        learning_curve=curve,
    )
    study.save_training(training, scores, artefacts)
    return training


def _cascade(table: Table, fold: Any, seed: int) -> tuple[SufficiencyNetwork, Floats]:
    """Is the small model's own answer right? From the features of that answer; the grid is float64[n, 1]."""
    examples = answer_examples(table)

    def fit(part: Any, seed: int) -> SufficiencyNetwork:
        return fit_linear(PLAIN, part, seed)

    logits = cross_fit(fit, examples, fold, seed)
    platt = fit_platt(logits, examples.right)
    network = fit(examples, seed)
    network.slope.fill_(platt.slope)
    network.offset.fill_(platt.offset)
    return network, as_grid(platt(logits), examples, len(table.questions))


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
    raw = examples.batch.features.astype(np.float64)
    compressed = np.sign(raw) * np.log1p(np.abs(raw))
    of_stage = [compressed[examples.batch.stage == k] for k in range(examples.stages)]
    return Description(
        kind=kind,
        features=list(NAMES),
        shape=network.shape.as_dict(),
        pair=profile.text_makers(),
        tokenizer_sha256=collected.origins[0].tokenizer_sha256,
        spread_by_stage=[Spread(mean=rows.mean(axis=0).tolist(), std=rows.std(axis=0).tolist()) for rows in of_stage],
        trained_on=collected.sources(),
        metrics=metrics,
        versions={
            **{name: version(name) for name in ("torch", "scikit-learn", "numpy")},
            "python": platform.python_version(),
        },
        command=" ".join(["tandem", *sys.argv[1:]]),
        seed=seed,
    )
