"""Shares of runs with Wilson's 95 % intervals, and medians."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lab.training.metrics import accuracy

Figures = dict[str, Any]
"""A result as JSON."""


def share_of(found: Sequence[bool]) -> Figures:
    interval = accuracy(np.array(found, dtype=bool))
    return {
        "share": round(interval.mean, 4),
        "low": round(interval.low, 4),
        "high": round(interval.high, 4),
        "runs": len(found),
    }


def middle(values: Sequence[float], digits: int = 0) -> Figures | None:
    """The median with the middle 90 % of the values; None where there are none."""
    if not values:
        return None
    low, median, high = np.percentile(values, [5, 50, 95])
    return {"median": round(float(median), digits), "p5": round(float(low), digits), "p95": round(float(high), digits)}


def mean_of(values: Sequence[float], digits: int = 4) -> Figures:
    """The mean with its 95 % interval by the normal distribution, which many runs allow."""
    mean, error = float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values)))
    return {
        "mean": round(mean, digits),
        "low": round(mean - 1.96 * error, digits),
        "high": round(mean + 1.96 * error, digits),
    }
