"""`tandem train`: cross-fit every kind of model; fit the served kinds on all questions and save them with the study."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from lab.training.collected import Collected
from lab.training.errors import TooFew
from lab.training.estimators import ESTIMATORS, PLAIN, Examples, Fit, fit_linear, fit_mlp
from lab.training.fitting import (
    CrossFit,
    answer_examples,
    cross_fit,
    examples_of,
    fit_all,
    folds,
    with_extra,
)
from lab.training.metrics import scorer_metrics
from lab.training.names import BOOSTING, OF_STATES, WORDS
from lab.training.study import CASCADE, PAPER, Study, Training
from lab.training.table import Table
from services.sufficiency_scorer.artefact import (
    Artefact,
    Description,
    Label,
    Moments,
    NotMeasured,
    ScorerMetrics,
    TrainingSource,
)
from services.sufficiency_scorer.network import SufficiencyNetwork
from services.sufficiency_scorer.scorer_inputs import NAMES, log_compress
from tandem.method.profile.profile import Profile

MIN_QUESTIONS = 40
AUTO = "auto"
Progress = Callable[[str], None]


@dataclass(frozen=True)
class TrainingOptions:
    """`kinds` are compared; `kind` is chosen, with "auto" the kind with the least log-loss of those that can be
    served.
    """

    kinds: Sequence[str]
    kind: str = AUTO
    label: Label = "nothing_lost"
    folds: int = 5
    seed: int = 0


def train(
    collected: Collected, profile: Profile, study: Study, options: TrainingOptions, progress: Progress,
    extra: Collected | None = None,
) -> Training:  # fmt: skip
    """Train on `collected` and save the study. `extra` questions (`train --also`) are used for fitting only.

    Kinds that read hidden states are left out where `collected` has none.
    Raises TooFew.
    """
    _check_enough(collected.table, options.label)
    # A question with out-of-fold scores must never be learned from.
    extra = extra.without(collected.table.questions) if extra else None
    run = _TrainingRun(collected, profile, options, extra)
    kinds = [kind for kind in options.kinds if kind not in OF_STATES or collected.table.states.any()]
    compared = dict.fromkeys((*kinds, WORDS))  # a router needs WORDS
    for number, kind in enumerate(compared, 1):
        progress(f"{kind}, {number} of {len(compared)} kinds: {options.folds} folds over {run.n} questions")
        run.cross_fit(kind)
    chosen = run.chosen
    for kind in run.servable:
        progress(f"{kind}: all {run.n} questions")
        run.fit(kind)
    progress("the paper's scorer")
    run.fit_paper()
    if collected.table.answer_features.any():
        progress("cascade: the small model's own answers")
        run.fit_cascade()
    training = Training(
        profile=profile.name,
        asked=options.kind,
        chosen=chosen,
        label=options.label,
        questions=list(collected.table.questions),
        more_questions=list(extra.table.questions) if extra else [],
        folds=options.folds,
        seed=options.seed,
        sources=_sources(collected, extra),
        kinds=run.metrics,
    )
    study.save_training(training, {name: fit.scores for name, fit in run.fits.items()}, run.artefacts)
    return training


class _TrainingRun:
    """Collects cross-fits, metrics and artefacts by name."""

    def __init__(
        self, collected: Collected, profile: Profile, options: TrainingOptions, extra: Collected | None
    ) -> None:
        self._table, self._options = collected.table, options
        self._examples = examples_of(collected.table, options.label)
        self._extra = examples_of(extra.table, options.label) if extra else None
        self._fold = folds(self.n, options.folds, options.seed)
        self._describe = _Describer(collected, extra, profile, options.seed, _moments(self._examples))
        self.fits: dict[str, CrossFit] = {}
        self.metrics: dict[str, ScorerMetrics] = {}
        self.artefacts: dict[str, Artefact] = {}

    @property
    def n(self) -> int:
        return len(self._table.questions)

    @property
    def servable(self) -> list[str]:
        return [kind for kind in self.metrics if kind != BOOSTING]

    @property
    def chosen(self) -> str:
        if self._options.kind != AUTO:
            return self._options.kind
        return min(self.servable, key=lambda kind: self.metrics[kind].overall.log_loss)

    def cross_fit(self, kind: str) -> None:
        self.fits[kind] = cross_fit(kind, self._fit_of(kind), self._examples, self._fold, self._options.seed)
        self.metrics[kind] = self._measure(kind, self._options.label)

    def fit(self, kind: str) -> None:
        network = fit_all(self._fit_of(kind), self._examples, self.fits[kind].platt, self._options.seed)
        self.artefacts[kind] = self._describe.artefact(network, kind, self._options.label, self.metrics[kind])

    def fit_paper(self) -> None:
        network = self._fit_baseline(PAPER, fit_mlp, examples_of(self._table, "right"))
        metrics = self._measure(PAPER, "right")
        self.artefacts[PAPER] = self._describe.artefact(network, "mlp", "right", metrics, uses_extra=False)

    def fit_cascade(self) -> None:
        """Is the small model's own answer right? From the features of that answer."""
        network = self._fit_baseline(
            CASCADE, lambda examples, seed: fit_linear(PLAIN, examples, seed), answer_examples(self._table)
        )
        self.artefacts[CASCADE] = self._describe.artefact(network, CASCADE, "right", NotMeasured(), uses_extra=False)

    def _fit_baseline(self, name: str, fit: Fit, examples: Examples) -> SufficiencyNetwork:
        self.fits[name] = cross_fit(name, fit, examples, self._fold, self._options.seed)
        return fit_all(fit, examples, self.fits[name].platt, self._options.seed)

    def _fit_of(self, kind: str) -> Fit:
        return with_extra(ESTIMATORS[kind], self._extra)

    def _measure(self, name: str, label: Label) -> ScorerMetrics:
        return scorer_metrics(self.fits[name].scores, self._table.slm.exists, self._table.targets(label))


@dataclass(frozen=True)
class _Describer:
    """Adds the description to a network."""

    collected: Collected
    extra: Collected | None
    profile: Profile
    seed: int
    moments: list[Moments]

    def artefact(
        self, network: SufficiencyNetwork, kind: str, label: Label, metrics: ScorerMetrics | NotMeasured,
        uses_extra: bool = True,
    ) -> Artefact:  # fmt: skip
        description = Description(
            kind=kind,
            label=label,
            features=list(NAMES),
            shape=network.shape,
            pair=self.profile.prompt_fingerprint(),
            computed_by=self.collected.origins[0].computed_by,
            tokenizer_sha256=self.collected.origins[0].tokenizer_sha256,
            spread_by_stage=self.moments,
            trained_on=_sources(self.collected, self.extra if uses_extra else None),
            metrics=metrics,
            versions=_versions(("torch", "scikit-learn", "numpy")),
            command=" ".join(["tandem", *sys.argv[1:]]),
            seed=self.seed,
        )
        return Artefact(network, description)


def _check_enough(table: Table, label: Label) -> None:
    """Raises TooFew."""
    n, targets = len(table.questions), table.targets(label)
    if n < MIN_QUESTIONS or targets[table.slm.exists].all() or not targets.any() or not table.slm.right.any():
        raise TooFew(f"{n} questions are too few, or all have the same outcome; collect {MIN_QUESTIONS} or more")


def _sources(collected: Collected, extra: Collected | None) -> list[TrainingSource]:
    return [*collected.sources, *(extra.sources if extra else [])]


def _moments(examples: Examples) -> list[Moments]:
    """Of the features, by stage."""
    compressed: NDArray[np.float64] = log_compress(examples.batch.features.astype(np.float64))
    by_stage = [compressed[examples.batch.stage == k] for k in range(examples.stages)]
    return [Moments(mean=rows.mean(axis=0).tolist(), std=rows.std(axis=0).tolist()) for rows in by_stage]


def _versions(packages: Iterable[str]) -> dict[str, str]:
    return {**{name: version(name) for name in packages}, "python": platform.python_version()}
