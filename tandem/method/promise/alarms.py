"""What closes an arm that serves: labels that say that more is lost than promised, or a change of how often the cheap
models agree, which every request shows (docs/promise.md).
"""

# No `from __future__ import annotations`: see tandem.method.request.request.
import math
from collections.abc import Iterable
from dataclasses import dataclass

DRIFTS = (1.5, 2.5, 5.0)
"""How much more than promised may be lost, as alternatives."""
ALARM = 500.0
"""Evidence that closes an arm: by chance once in so many sampled requests at least."""
WANTS_LABELS = 20.0
"""The same, with each open dispute counted as lost, from which labels are requested."""
BLOCK = 50
"""Sampled requests of a block: a label changes the block that its dispute was in."""
MOVES = 0.15
"""Change of the share of requests that the arm takes."""
_CLOSES = 10.0
_MOST_NATS, _MOST = 500.0, 1e60  # far above what closes; their product is a float64


@dataclass(frozen=True)
class Block:
    """Sampled requests of an arm that serves: all, disputes without a label, and those that a label calls lost."""

    sampled: int = 0
    open: int = 0
    lost: int = 0


def drift(blocks: Iterable[Block], lose_at_most: float, *, open_is_lost: bool) -> float:
    """Evidence that more is lost since some moment: a sum over all moments that it may have begun (Roberts 1966)."""
    sums = [0.0] * len(DRIFTS)
    for block in blocks:
        lost = block.lost + (block.open if open_is_lost else 0)
        sums = [
            min(_MOST, each + 1)
            * _odds(min(times * lose_at_most, (1 + lose_at_most) / 2), lose_at_most, lost, block.sampled)
            for each, times in zip(sums, DRIFTS, strict=True)
        ]
    return sum(sums) / len(DRIFTS)


def _odds(more: float, promised: float, lost: int, sampled: int) -> float:
    kept = (sampled - lost) * (math.log1p(-more) - math.log1p(-promised))
    return math.exp(min(_MOST_NATS, lost * math.log(more / promised) + kept))


@dataclass(frozen=True)
class Cusum:
    """How much better a share `MOVES` above or below the usual one explains the last requests, at the best moment that
    it may have begun (Page 1954), in nats.
    """

    above: float = 0.0
    below: float = 0.0

    def after(self, is_taken: bool, usual: float) -> "Cusum":
        above, below = steps(is_taken, usual)
        return Cusum(max(0.0, self.above + above), max(0.0, self.below + below))

    @property
    def closes(self) -> bool:
        return max(self.above, self.below) >= _CLOSES


def steps(is_taken: bool, usual: float) -> tuple[float, float]:
    """What one request adds to each; `usual` is the share of requests that the arm takes."""
    before = min(0.99, max(0.01, usual))
    return _nats(is_taken, before, before + MOVES), _nats(is_taken, before, before - MOVES)


def _nats(is_taken: bool, before: float, moved: float) -> float:
    """A share that is nearer to its end than `MOVES` cannot move so far: nothing is added."""
    if not 0 < moved < 1:
        return 0.0
    return math.log(moved / before if is_taken else (1 - moved) / (1 - before))
