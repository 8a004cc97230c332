"""Scorers by name: evidence in, sufficiency in 0..1 out. Deciding what to do with it is the stop rule's."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from services.sufficiency_scorer.evidence import Evidence
from services.sufficiency_scorer.features import NAMES
from tandem.method.profile import TRAINED_SCORERS


class Scorer(Protocol):
    """`needs_pass`: the small model has to read question and insight; else the question's words are enough."""

    name: str
    trained: bool

    @property
    def needs_pass(self) -> bool: ...

    def score(self, evidence: Evidence) -> float: ...


class UntrainedScorer:
    """exp(-mean entropy): how sure the small model is of the next token, on average, while it reads.

    A stand-in until a scorer is trained for the pair. It knows nothing of right and wrong answers, and says so
    wherever its score is shown.
    """

    name, trained, needs_pass = "untrained", False, True
    _entropy = NAMES.index("entropy_mean")

    def score(self, evidence: Evidence) -> float:
        return math.exp(-max(0.0, float(evidence.features[self._entropy])))


class ConstantScorer:
    """The same score always: with 1 every question stops at the first stage, with 0 none does."""

    name, trained, needs_pass = "constant", False, True

    def __init__(self, value: float) -> None:
        if not 0 <= value <= 1:
            raise ValueError(f"a score lies in 0..1, not {value}")
        self._value = value

    def score(self, evidence: Evidence) -> float:
        return self._value


class RandomScorer:
    """Uniform in 0..1, the baseline of every comparison; the same evidence always draws the same score."""

    name, trained, needs_pass = "random", False, True

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def score(self, evidence: Evidence) -> float:
        return float(np.random.default_rng([self._seed, zlib.crc32(evidence.features.tobytes())]).random())


def _make_trained(argument: str, folders: Sequence[Path]) -> Scorer:
    from services.sufficiency_scorer.artefact import DESCRIPTION, Artefact, TrainedScorer

    there = [folder / argument for folder in folders if (folder / argument / DESCRIPTION).is_file()]
    return TrainedScorer(Artefact.load(there[0] if there else folders[0] / argument))


_MAKERS: dict[str, Callable[[str, Sequence[Path]], Scorer]] = {
    **dict.fromkeys(TRAINED_SCORERS, _make_trained),
    "untrained": lambda argument, folders: UntrainedScorer(),
    "constant": lambda argument, folders: ConstantScorer(float(argument or 1)),
    "random": lambda argument, folders: RandomScorer(int(argument or 0)),
}


def make_scorer(spec: str, *folders: Path) -> Scorer:
    """The trained `mlp`, `logistic`, `probe`, `combined` or `words`, each with `[:subfolder of the profile]`; `untrained`,
    `constant[:value]` or `random[:seed]`. Raises ValueError.

    `folders` are the profile's own and others of its name, where the scorer lies if only the profile's text was replaced.
    """
    name, _, argument = spec.partition(":")
    if name not in _MAKERS:
        raise ValueError(f"unknown scorer {spec!r}: use one of {', '.join(_MAKERS)}")
    scorer = _MAKERS[name](argument, folders)
    if scorer.name != name:
        raise ValueError(f"{argument or '.'} of the profile holds a scorer of kind {scorer.name!r}, not {name!r}")
    return scorer
