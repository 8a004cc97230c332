"""How long the trials of each model took lately, in one worker: what a trial's limit is a multiple of."""

from __future__ import annotations

from collections import defaultdict, deque
from statistics import quantiles

_KEPT, _ENOUGH = 32, 8  # trials of a model


class TrialTimes:
    """By model, of those that ended by themselves, and those that were stopped at their limit while they wrote: where a
    model becomes slower the limit follows, and where it hangs it does not.
    """

    def __init__(self) -> None:
        self._seconds: defaultdict[tuple[str, str], deque[float]] = defaultdict(lambda: deque(maxlen=_KEPT))

    def add(self, model: tuple[str, str], seconds: float) -> None:
        self._seconds[model].append(seconds)

    def usual(self, model: tuple[str, str]) -> float | None:
        """Seconds within which three of four ended: a few that hang do not move it. None: too few have ended."""
        seconds = self._seconds[model]
        return quantiles(seconds, n=4)[2] if len(seconds) >= _ENOUGH else None
