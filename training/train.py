"""`tandem train`: every kind of model, judged out of fold; the best is fitted on all questions and described."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np

from services.sufficiency_scorer.artefact import Artefact, Description, Label, Spread
from services.sufficiency_scorer.features import NAMES, compress
from services.sufficiency_scorer.network import SufficiencyNetwork
from tandem.method.profile import Profile
from training.collected import Collected
from training.estimators import ESTIMATORS, PLAIN, WORDS, Examples, fit_linear, fit_mlp
from training.fitting import (
    CrossFit,
    answer_examples,
    cross_fit,
    examples_of,
    fit_all,
    folds,
    learning_curve,
    with_more,
)
from training.metrics import auroc, bootstrap, quality, quality_by_stage, reliability
from training.study import CASCADE, PAPER, Study, Training
from training.table import Floats, Table

FEWEST_QUESTIONS = 40
_CURVE = (0.25, 0.5, 0.75)


class TooFew(Exception):
    """Too few questions, or all of one outcome."""


def train(
    collected: Collected, profile: Profile, study: Study, kinds: Sequence[str], kind: str, label: Label, count: int,
    seed: int, progress: Callable[[str], None], more: Collected | None = None,
) -> Training:  # fmt: skip
    """Fit `kinds` by cross-fitting over `count` folds, choose `kind` ("auto": least log-loss of those that can be served),
    fit it on all questions, and save the study. `more` are questions to learn from whose later stages were not collected.

    Raises TooFew.
    """
    kinds = list(dict.fromkeys((*kinds, WORDS)))  # what a router goes by
    table = collected.table
    n, enough = len(table.questions), table.enough(label)
    if n < FEWEST_QUESTIONS or enough[table.slm.exists].all() or not enough.any() or not table.slm.right.any():
        raise TooFew(f"{n} questions are too few, or have all the same outcome; collect {FEWEST_QUESTIONS} at least")
    examples, fold = examples_of(table, label), folds(n, count, seed)
    more = more.without(table.questions) if more else None  # a question that is judged on is never learnt from
    extra = examples_of(more.table, label) if more else None
    found: dict[str, CrossFit] = {}
    for name in kinds:
        progress(f"{name}: {count} folds over {n} questions")
        found[name] = cross_fit(name, with_more(ESTIMATORS[name], extra), examples, fold, seed)
    measured = {name: _metrics(found[name].scores, table, label) for name in kinds}
    served = [name for name in kinds if name != "boosting"]
    chosen = kind if kind != "auto" else min(served, key=lambda name: measured[name]["overall"]["log_loss"])
    progress(f"{chosen}: learning curve")
    curve = learning_curve(found[chosen], table, label, with_more(ESTIMATORS[chosen], extra), _CURVE, count, seed)
    spreads = _spreads(examples)
    describe = partial(_describe, collected=collected, profile=profile, spreads=spreads, seed=seed)
    artefacts = {}
    for name in served:
        fitted = fit_all(with_more(ESTIMATORS[name], extra), examples, found[name].platt, seed)
        artefacts[name] = Artefact(fitted, describe(name, label, fitted, measured[name], more))
    progress("the paper's")
    as_published = examples_of(table, "right")
    found[PAPER] = cross_fit(PAPER, fit_mlp, as_published, fold, seed)
    network = fit_all(fit_mlp, as_published, found[PAPER].platt, seed)
    metrics = _metrics(found[PAPER].scores, table, "right")
    artefacts[PAPER] = Artefact(network, describe("mlp", "right", network, metrics, None))
    if table.answer_features.any():
        progress("cascade: the small model's own answers")
        answers = answer_examples(table)
        found[CASCADE] = cross_fit(CASCADE, _fit_cascade, answers, fold, seed)
        network = fit_all(_fit_cascade, answers, found[CASCADE].platt, seed)
        artefacts[CASCADE] = Artefact(network, describe(CASCADE, "right", network, {}, None))
    training = Training(
        profile=profile.name,
        asked=kind,
        chosen=chosen,
        label=label,
        questions=list(table.questions),
        more_questions=list(more.table.questions) if more else [],
        folds=count,
        seed=seed,
        sources=_sources(collected, more),
        kinds=measured,
        learning_curve=curve,
    )
    study.save_training(training, {name: fit.scores for name, fit in found.items()}, artefacts)
    return training


def _fit_cascade(examples: Examples, seed: int) -> SufficiencyNetwork:
    """Is the small model's own answer right? From the features of that answer."""
    return fit_linear(PLAIN, examples, seed)


def _sources(collected: Collected, more: Collected | None) -> list[dict[str, Any]]:
    return [*collected.sources, *(more.sources if more else [])]


def _metrics(scores: Floats, table: Table, label: Label) -> dict[str, Any]:
    """Overall and by stage; the interval of the overall AUROC is over questions, whose passes go together."""
    there, enough = table.slm.exists, table.enough(label)
    overall = vars(quality(scores[there], enough[there]))

    def resampled(rows: Any) -> float:
        part = there[rows]
        found = auroc(scores[rows][part], enough[rows][part])
        return np.nan if found is None else found

    interval = bootstrap(resampled, len(table.questions))
    return {
        "overall": overall,
        "auroc_interval": [interval.low, interval.high],
        "by_stage": [vars(stage) for stage in quality_by_stage(scores, there, enough)],
        "reliability": reliability(scores[there], enough[there]),
    }


def _spreads(examples: Examples) -> list[Spread]:
    """How each stage's features are distributed."""
    compressed = compress(examples.batch.features.astype(np.float64))
    of_stage = [compressed[examples.batch.stage == k] for k in range(examples.stages)]
    return [Spread(mean=rows.mean(axis=0).tolist(), std=rows.std(axis=0).tolist()) for rows in of_stage]


def _describe(
    kind: str, label: Label, network: SufficiencyNetwork, metrics: dict[str, Any], more: Collected | None,
    collected: Collected, profile: Profile, spreads: list[Spread], seed: int,
) -> Description:  # fmt: skip
    return Description(
        kind=kind,
        label=label,
        features=list(NAMES),
        shape=network.shape.as_dict(),
        pair=profile.prompt_fingerprint(),
        tokenizer_sha256=collected.origins[0].tokenizer_sha256,
        spread_by_stage=spreads,
        trained_on=_sources(collected, more),
        metrics=metrics,
        versions={
            **{name: version(name) for name in ("torch", "scikit-learn", "numpy")},
            "python": platform.python_version(),
        },
        command=" ".join(["tandem", *sys.argv[1:]]),
        seed=seed,
    )
