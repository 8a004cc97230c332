"""The rule of services/shared/request_log/promises.lua again, in Python, for tests: the script is compared with it, and
it is simulated.

`outcomes` and `lost` are of the present step, `all_outcomes` and `all_lost` of all. docs/method.md, A promise kept
online, has the proof.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate
from random import Random

from tandem.method.profile.watched_promise import PAYS_BACK, REVIEW, Watched, lost_between, ratios

_ALTERNATIVES = len(ratios(0.0, 0.05))
_ratios = cache(ratios)


@dataclass
class Course:
    """What the outcomes of one policy have come to since it was calibrated."""

    step: int = 0
    outcomes: int = 0
    lost: float = 0.0
    all_outcomes: int = 0
    all_lost: float = 0.0
    alternatives: list[float] = field(default_factory=lambda: [0.0] * _ALTERNATIVES)

    def count(self, loss: float, watched: Watched) -> bool:
        """One more outcome of the present step; True: from now on the policy is a step stricter."""
        self.outcomes, self.lost = self.outcomes + 1, self.lost + loss
        self.all_outcomes, self.all_lost = self.all_outcomes + 1, self.all_lost + loss
        if self.step >= watched.steps or not (self._is_refuted(loss, watched) or self._owes(watched.lose_at_most)):
            return False
        self.step, self.outcomes, self.lost = self.step + 1, 0, 0.0
        self.alternatives = [0.0] * _ALTERNATIVES
        return True

    def _is_refuted(self, loss: float, watched: Watched) -> bool:
        later = _weight_from(self.outcomes + 1)
        weight = _weight_from(self.outcomes) - later
        pairs = zip(self.alternatives, _ratios(loss, watched.lose_at_most), strict=True)
        self.alternatives = [(so_far + weight) * ratio for so_far, ratio in pairs]
        return sum(self.alternatives) / _ALTERNATIVES + later >= watched.limit

    def _owes(self, lose_at_most: float) -> bool:
        """More was lost than promised, and after each REVIEW outcomes of a stricter step: that does not pay it back
        soon.
        """
        is_due = self.step > 0 and self.outcomes % REVIEW == 0
        pays_back = self.lost <= PAYS_BACK * lose_at_most * self.outcomes
        return is_due and not pays_back and self.all_lost > lose_at_most * self.all_outcomes


@cache
def _weight_from(moment: int) -> float:
    """Of the moment, counted from 1, and all later ones."""
    return math.log(2) / math.log(moment + 1)


def said_by_course(losses: Sequence[float]) -> int | None:
    """After how many outcomes the rule that is served says that a promise of 5 % is broken."""
    course, watched = Course(), Watched("code", "", "made", 0.05, 0.95, steps=1)
    return next((number for number, loss in enumerate(losses, 1) if course.count(loss, watched)), None)


def said_by_bound(losses: Sequence[float]) -> int | None:
    """The interval of all outcomes, which holds at all times, alone."""
    sums = enumerate(accumulate(losses), 1)
    return next((number for number, lost in sums if lost_between(lost, number, 0.95)[0] > 0.05), None)


def said_by_blocks(losses: Sequence[float], size: int = 100) -> int | None:
    """Each block of outcomes tested by itself, with a part of the 5 % that all of them share."""
    from scipy.stats import binom

    for block in range(1, len(losses) // size + 1):
        lost = sum(losses[(block - 1) * size : block * size])
        if binom.sf(lost - 1, size, 0.05) <= 0.05 * 6 / (math.pi * block) ** 2:
            return block * size
    return None


def main(runs: int = 200) -> None:
    """Print how often each rule refutes a promise of 5 %, and how many outcomes of the drift that takes (minutes)."""
    random = Random(1)
    for shares in ([(0.05, 4000)], [(0.10, 4000)], [(0.03, 1000), (0.15, 3000)], [(0.03, 1000), (0.10, 3000)]):
        begins = sum(count for _, count in shares[:-1])
        for rule in (said_by_course, said_by_bound, said_by_blocks):
            said = [rule([float(random.random() < p) for p, n in shares for _ in range(n)]) for _ in range(runs)]
            after = sorted(math.inf if found is None else found - begins for found in said)
            print(shares, rule.__name__, sum(found is not None for found in said) / runs, after[runs // 2])


if __name__ == "__main__":
    main()
