"""Scorers by name: features in, sufficiency in 0..1 out. Deciding what to do with it is the stop rule's."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.sufficiency_scorer.features import NAMES


class Scorer(Protocol):
    name: str
    trained: bool

    def score(self, features: NDArray[np.float32]) -> float: ...


class UntrainedScorer:
    """exp(-mean entropy): how sure the small model is of the next token, on average, while it reads.

    A stand-in until a scorer is trained for the pair. It knows nothing of right and wrong answers, and says so
    wherever its score is shown.
    """

    name, trained = "untrained", False
    _entropy = NAMES.index("entropy_mean")

    def score(self, features: NDArray[np.float32]) -> float:
        return math.exp(-max(0.0, float(features[self._entropy])))


class ConstantScorer:
    """The same score always: with 1 every question stops at the first stage, with 0 none does."""

    name, trained = "constant", False

    def __init__(self, value: float) -> None:
        if not 0 <= value <= 1:
            raise ValueError(f"a score lies in 0..1, not {value}")
        self._value = value

    def score(self, features: NDArray[np.float32]) -> float:
        return self._value


class RandomScorer:
    """Uniform in 0..1, the baseline of every comparison; the same features always draw the same score."""

    name, trained = "random", False

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def score(self, features: NDArray[np.float32]) -> float:
        return float(np.random.default_rng([self._seed, zlib.crc32(features.tobytes())]).random())


def _make_mlp(argument: str, folder: Path) -> Scorer:
    from services.sufficiency_scorer.mlp import MlpScorer

    return MlpScorer(folder / argument)


_MAKERS: dict[str, Callable[[str, Path], Scorer]] = {
    "mlp": _make_mlp,
    "untrained": lambda argument, folder: UntrainedScorer(),
    "constant": lambda argument, folder: ConstantScorer(float(argument or 1)),
    "random": lambda argument, folder: RandomScorer(int(argument or 0)),
}


def make_scorer(spec: str, folder: Path) -> Scorer:
    """`mlp[:subfolder of the profile]`, `untrained`, `constant[:value]` or `random[:seed]`. Raises ValueError."""
    name, _, argument = spec.partition(":")
    if name not in _MAKERS:
        raise ValueError(f"unknown scorer {spec!r}: use one of {', '.join(_MAKERS)}")
    return _MAKERS[name](argument, folder)
