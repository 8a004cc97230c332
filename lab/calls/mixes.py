"""Tasks as other traffic mixes them: by the share of those where no tool fits, which decides what a text without a call
is worth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lab.training.errors import StudyError
from lab.training.metrics import Interval, bootstrap
from lab.training.names import LLM_ALONE, OURS, SLM_ALONE
from lab.training.pricing import PricedCourse
from lab.training.table import Bools, Floats, Rows

COSTS = ("full", "usd_8", "usd_37")


def weights_of(none_fits: Bools, mixes: Sequence[float]) -> Floats:
    """Float64[n, mixes], each mix of mean one; without `mixes`, the tasks as they are. Raises StudyError where a mix
    has tasks of which there are none.
    """
    if not mixes:
        return np.ones((len(none_fits), 1))
    return np.stack([_weights(none_fits, share) for share in mixes], axis=1)


def _weights(none_fits: Bools, share: float) -> Floats:
    found = float(none_fits.mean())
    if (share > 0 and found == 0) or (share < 1 and found == 1):
        raise StudyError(f"no mix with {share:.0%} of tasks where no tool fits: the collected ones have {found:.0%}")
    weights: Floats = np.where(none_fits, share / (found or 1.0), (1 - share) / ((1 - found) or 1.0))
    return weights


@dataclass(frozen=True)
class Mix:
    """With a `share` of tasks where no tool fits: the large model's accuracy, what the small one alone and the policy
    are right more (a share of all), and the policy's cost, of the large model's, by unit; 95 % intervals over tasks.
    """

    share: float
    large: float
    small_more: Interval
    ours_more: Interval
    relative: dict[str, Interval]


def mixes_of(none_fits: Bools, outcomes: Mapping[str, PricedCourse], mixes: Sequence[float]) -> list[Mix]:
    """None of tasks of one kind; resamples that lack one of the two are left out."""
    is_mixed = none_fits.any() and not none_fits.all()
    return [_mix(none_fits, outcomes, share) for share in mixes if is_mixed]


def _mix(none_fits: Bools, outcomes: Mapping[str, PricedCourse], share: float) -> Mix:
    ours, small, large = (outcomes[name] for name in (OURS, SLM_ALONE, LLM_ALONE))
    n = len(none_fits)

    def mean(values: Floats, rows: Rows) -> float:
        drawn = none_fits[rows]
        if drawn.all() or not drawn.any():
            return float("nan")
        return float(np.average(values[rows], weights=_weights(drawn, share)))

    def more(course: PricedCourse) -> Interval:
        return bootstrap(lambda rows: mean(course.right.astype(float) - large.right, rows), n)

    def ratio(unit: str) -> Interval:
        top, base = getattr(ours, unit), getattr(large, unit)
        return bootstrap(lambda rows: mean(top, rows) / mean(base, rows), n)

    of_large = mean(large.right.astype(float), np.arange(n))
    return Mix(share, of_large, more(small), more(ours), {unit: ratio(unit) for unit in COSTS})
