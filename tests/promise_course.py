"""The rule of services/shared/request_log/promises.lua again, in Python, for tests: the script is compared with it, and
it is simulated.

`outcomes` and `lost` are of the present step, `all_outcomes` and `all_lost` of all. docs/method.md, A promise kept
online, has the proof.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tandem.method.profile.watched_promise import PAYS_BACK, REVIEW, Watched, ratios

_ALTERNATIVES = len(ratios(0.0, 0.05))


class Courses:
    """What the outcomes of one policy have come to since it was calibrated, in so many runs at once."""

    def __init__(self, runs: int = 1) -> None:
        self.step, self.outcomes, self.all_outcomes = (np.zeros(runs, int) for _ in range(3))
        self.lost, self.all_lost = np.zeros(runs), np.zeros(runs)
        self.alternatives = np.zeros((_ALTERNATIVES, runs))

    def count(self, loss: ArrayLike, watched: Watched) -> NDArray[np.bool_]:
        """One more outcome of each run's present step; True: from now on the policy is a step stricter there."""
        losses = np.broadcast_to(np.asarray(loss, float), self.step.shape)
        self.outcomes, self.lost = self.outcomes + 1, self.lost + losses
        self.all_outcomes, self.all_lost = self.all_outcomes + 1, self.all_lost + losses
        is_due = self._is_refuted(losses, watched) | self._owes(watched.lose_at_most)
        is_stricter = is_due & (self.step < watched.steps)
        self.step = self.step + is_stricter
        self.outcomes, self.lost = (np.where(is_stricter, 0, each) for each in (self.outcomes, self.lost))
        self.alternatives = np.where(is_stricter, 0, self.alternatives)
        return is_stricter

    def _is_refuted(self, losses: NDArray[np.float64], watched: Watched) -> NDArray[np.bool_]:
        later = _weight_from(self.outcomes + 1)
        weight = _weight_from(self.outcomes) - later
        self.alternatives = (self.alternatives + weight) * np.array(ratios(losses, watched.lose_at_most))  # type: ignore[arg-type]
        return self.alternatives.mean(axis=0) + later >= watched.limit

    def _owes(self, lose_at_most: float) -> NDArray[np.bool_]:
        """More was lost than promised, and after each REVIEW outcomes of a stricter step: that does not pay it back
        soon.
        """
        is_due = (self.step > 0) & (self.outcomes % REVIEW == 0)
        pays_back = self.lost <= PAYS_BACK * lose_at_most * self.outcomes
        return is_due & ~pays_back & (self.all_lost > lose_at_most * self.all_outcomes)


def _weight_from(moment: NDArray[np.int_]) -> NDArray[np.float64]:
    """Of the moment, counted from 1, and all later ones."""
    return math.log(2) / np.log(moment + 1)


LENGTH, DRIFT_AT = 4000, 1000
PROMISE = Watched("code", "checks", "made", lose_at_most=0.05, confidence=0.95, steps=6)


@dataclass
class Simulated:
    """Of each run: what was lost; after how many outcomes the policy first became stricter (LENGTH: never), what was
    lost by then; and its last step.
    """

    lost: NDArray[np.float64]
    stricter: NDArray[np.int_]
    lost_by_then: NDArray[np.float64]
    step: NDArray[np.int_]


def simulated(before: float, after: float, runs: int) -> Simulated:
    """The share that is lost changes at DRIFT_AT; each step halves it, and at the last one the large model answers."""
    generator, courses = np.random.default_rng(3), Courses(runs)
    lost, lost_by_then, stricter = np.zeros(runs), np.zeros(runs), np.full(runs, LENGTH)
    for number in range(LENGTH):
        share = (before if number < DRIFT_AT else after) / 2.0**courses.step
        loss = (generator.random(runs) < np.where(courses.step < PROMISE.steps, share, 0.0)).astype(float)
        lost += loss
        is_first = courses.count(loss, PROMISE) & (stricter == LENGTH)
        stricter, lost_by_then = np.where(is_first, number + 1, stricter), np.where(is_first, lost, lost_by_then)
    return Simulated(lost, stricter, lost_by_then, courses.step)


def main(runs: int = 10_000) -> None:
    """Print the table of docs/results.md, A promise under drift."""
    print("lost before, after; stricter; outcomes of the drift: median, 90 %; lost by then; broken; lost: 95 %; steps")
    for before, drift in ((3, 3), (5, 5), (3, 7), (3, 8), (3, 10), (3, 15), (2, 20), (2, 30)):
        seen = simulated(before / 100, drift / 100, runs)
        is_stricter, broken = seen.stricter < LENGTH, seen.lost > PROMISE.lose_at_most * LENGTH
        times = np.quantile(seen.stricter[is_stricter] - DRIFT_AT, [0.5, 0.9]) if is_stricter.any() else []
        by_then = np.median(seen.lost_by_then[is_stricter]) if is_stricter.any() else ""
        most, steps = np.quantile(seen.lost, 0.95) / LENGTH, seen.step.mean()
        print(before, drift, is_stricter.mean(), times, by_then, broken.mean(), round(most, 4), steps)


if __name__ == "__main__":
    main()
