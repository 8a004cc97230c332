"""The rule of services/shared/request_log/promises.lua again, in Python, for tests: the script is compared with it, and
it is simulated.

`outcomes` and `lost` are of the present step, `all_outcomes` and `all_lost` of all. docs/method.md, A promise kept
online, has the proof.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache

from tandem.method.profile.watched_promise import PAYS_BACK, REVIEW, Watched, ratios

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
