"""Scorers by name: ScorerInputs in, a score in 0..1 out. The stop rule decides what a score leads to.

Those of other packages are found by the entry point group `tandem.scorers`: each is called with the argument of its
name in the profile.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from services.sufficiency_scorer.scorer_inputs import NAMES, ScorerInputs
from tandem.method.profile.profile_sections import TRAINED_SCORERS


@runtime_checkable
class Scorer(Protocol):
    """`needs_pass`: it uses a scoring pass of the small model over question and insight, not the question's words
    alone.
    """

    name: str
    trained: bool

    @property
    def needs_pass(self) -> bool: ...

    def score(self, inputs: ScorerInputs) -> float: ...


GROUP = "tandem.scorers"


class UntrainedScorer:
    """exp(-mean entropy of the small model's next token over question and insight).

    A placeholder until a scorer is trained for the pair. It is not fitted to outcomes; results mark its scores as such.
    """

    name, trained, needs_pass = "untrained", False, True
    _entropy = NAMES.index("entropy_mean")

    def score(self, inputs: ScorerInputs) -> float:
        return math.exp(-max(0.0, float(inputs.features[self._entropy])))


class ConstantScorer:
    """Always the same score: with 1 every question stops at the first stage, with 0 none does."""

    name, trained, needs_pass = "constant", False, True

    def __init__(self, value: float) -> None:
        if not 0 <= value <= 1:
            raise ValueError(f"a score must be in 0..1, got {value}")
        self._value = value

    def score(self, inputs: ScorerInputs) -> float:
        return self._value


class RandomScorer:
    """Uniform in 0..1, a baseline; equal inputs get equal scores."""

    name, trained, needs_pass = "random", False, True

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def score(self, inputs: ScorerInputs) -> float:
        return float(np.random.default_rng([self._seed, zlib.crc32(inputs.features.tobytes())]).random())


def _make_trained(argument: str, folders: Sequence[Path]) -> Scorer:
    from services.sufficiency_scorer.artefact import DESCRIPTION, Artefact, TrainedScorer

    found = [folder / argument for folder in folders if (folder / argument / DESCRIPTION).is_file()]
    return TrainedScorer(Artefact.load(found[0] if found else folders[0] / argument))


_MAKERS: dict[str, Callable[[str, Sequence[Path]], Scorer]] = {
    **dict.fromkeys(TRAINED_SCORERS, _make_trained),
    "untrained": lambda argument, folders: UntrainedScorer(),
    "constant": lambda argument, folders: ConstantScorer(float(argument or 1)),
    "random": lambda argument, folders: RandomScorer(int(argument or 0)),
}


def make_scorer(spec: str, *folders: Path) -> Scorer:
    """Create a scorer from `name[:argument]`. Raises ValueError.

    Trained: `mlp`, `logistic`, `probe`, `combined`, `words`, with a subfolder of the profile as argument. Others:
    `untrained`, `constant[:value]`, `random[:seed]`, and those of installed packages. `folders` are searched in order:
    the profile's own, then others of the same name, which hold the artefact if only profile.toml was replaced.
    """
    name, _, argument = spec.partition(":")
    if name not in _MAKERS:
        return _installed(name, argument)
    scorer = _MAKERS[name](argument, folders)
    if scorer.name != name:
        raise ValueError(
            f"{argument or '.'} in the profile's folder holds a scorer of kind {scorer.name!r}, not {name!r}"
        )
    return scorer


def _installed(name: str, argument: str) -> Scorer:
    """Return the scorer of somebody's own package, which cannot replace a built-in one."""
    entries = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in entries:
        raise ValueError(f"unknown scorer {name!r}; known: {', '.join(sorted({*_MAKERS, *entries}))}")
    scorer = entries[name].load()(argument)
    if not isinstance(scorer, Scorer):
        raise ValueError(
            f"entry point {name!r} of {GROUP} makes no scorer: {type(scorer).__name__} lacks a member of one"
        )
    return scorer
