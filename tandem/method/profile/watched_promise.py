"""A promise watched while it is served: outcomes of requests, and what they say at any time (docs/method.md, A promise
kept online).

An outcome's loss, 0..1, is what the large model's own answer would have been worth more than the served one. All bounds
hold at every moment at once, also where the traffic changes and where somebody stops because of what they say.
"""

# No `from __future__ import annotations`: see tandem.method.request.request.
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tandem.method.conversation import Kind

_TIMES = 1.5, 2.0, 3.0, 5.0, 8.0
"""How much more than promised may be lost, as alternatives: in between them the nearest one tells."""
_ODDS = 1.1, 1.25, 1.5, 2.0, 3.0, 6.0, 20.0
_HALVINGS = 40
REVIEW = 50
"""After so many outcomes of a stricter step promises.lua asks whether that step pays back what was lost too much."""
PAYS_BACK = 0.5
"""The largest part of the promised share that a step may lose while more was lost than promised: what is left pays that
back.
"""


class Standing(StrEnum):
    """`open`: there are too few outcomes to tell."""

    OPEN = "open"
    KEPT = "kept"
    BROKEN = "broken"


@dataclass(frozen=True)
class Watched:
    """The policy that a request is served by, as its outcome is counted for it.

    `made` identifies the promise, and is empty where the profile makes none. `lose_at_most`: the share that its
    outcomes are watched against (PromiseMade.watched_share). `step`: how many steps stricter than calibrated the policy
    is, of at most `steps`. `strength`: what the examples in the prompt count; `keep_days`: how long the tenant lets its
    outcomes be kept for a calibration, 0: not at all.
    """

    kind: Kind
    evidence: str
    made: str = ""
    lose_at_most: float = 0.0
    confidence: float = 0.0
    step: int = 0
    steps: int = 0
    strength: int = 0
    keep_days: int = 0

    @property
    def limit(self) -> float:
        """The evidence at which the promise counts as broken."""
        return 1 / (1 - self.confidence)


def ratios(loss: float, lose_at_most: float) -> list[float]:
    """How much better each alternative explains a loss than the promise does, none better on average where that is
    kept.
    """
    return [
        loss * q / lose_at_most + (1 - loss) * (1 - q) / (1 - lose_at_most)
        for q in (min(times * lose_at_most, (1 + lose_at_most) / 2) for times in _TIMES)
    ]


def lost_between(lost: float, outcomes: int, confidence: float) -> tuple[float, float]:
    """Bounds of the mean share that is lost, each with that confidence, at all times at once.

    `lost` is the sum of losses. The mixture over tilts is a supermartingale also where the share changes from outcome
    to outcome (Howard et al. 2020); then the bounds are of its mean so far.
    """
    limit = math.log(1 / (1 - confidence))
    low = _edge(lambda share: _tilted(lost, outcomes, share, _ODDS) >= limit)
    high = 1 - _edge(lambda rest: _tilted(outcomes - lost, outcomes, rest, _ODDS) >= limit)
    return low, high


def _edge(is_refuted: Callable[[float], bool]) -> float:
    """The largest share that is refuted; smaller ones are as well."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if is_refuted(middle) else (low, middle)
    return low


def _tilted(seen: float, outcomes: int, share: float, odds: Sequence[float]) -> float:
    """Log of the evidence that the mean is above `share`."""
    logs = [seen * math.log(each) - outcomes * math.log1p(share * (each - 1)) for each in odds]
    most = max(logs)
    return most + math.log(sum(math.exp(each - most) for each in logs) / len(logs))


def standing(watched: Watched, lost: float, outcomes: int) -> Standing:
    """Of the policy that is served now."""
    low, high = lost_between(lost, outcomes, watched.confidence)
    if low > watched.lose_at_most:
        return Standing.BROKEN
    return Standing.KEPT if high <= watched.lose_at_most else Standing.OPEN
