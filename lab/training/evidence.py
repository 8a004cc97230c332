"""What one can decide by a score or a check: arrays of options to stop, float64[m, c], one row each.

An option holds the chance that it stops a question of each kind. The first row stops none, the last one all.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri

from lab.training.table import Floats

_GRID = np.linspace(-6.0, 6.0, 241)
_MAX_DISTANCE = 40.0  # between two normal distributions: no score is between them


def distance(auroc: float) -> float:
    """Between the means of two normal distributions of variance 1 with this AUROC, 0..1 (the binormal model)."""
    return float(np.clip(np.sqrt(2) * ndtri(auroc), -_MAX_DISTANCE, _MAX_DISTANCE))


def by_score(means: Floats) -> Floats:
    """Thresholds of a score that is normal with variance 1 about `means`, float64[c]."""
    thresholds = np.unique(np.add.outer(np.unique(means), _GRID))[::-1, None]
    ends = np.zeros_like(means), np.ones_like(means)
    found: Floats = np.vstack([ends[0], ndtr(means - thresholds), ends[1]])
    return found


def by_check(passes: Floats) -> Floats:
    """Stop at what passes or at what fails; `passes` float64[c] is the chance to pass."""
    return np.array([np.zeros_like(passes), passes, 1 - passes, np.ones_like(passes)])
