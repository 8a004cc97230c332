"""A check and a scorer that Tandem finds by their entry points, without a change of its own files."""

from __future__ import annotations

import math

from services.shared.checks.api import Compared, failed, passed
from services.sufficiency_scorer.scorer_inputs import NAMES, ScorerInputs


def is_even(question: str, answer: str, argument: str) -> Compared:
    """The check `even`: the answer is an even number."""
    number = int(answer)
    return passed() if number % 2 == 0 else failed(f"{number} is odd")


class MarginScorer:
    """The scorer `margin`: the smaller the 75th percentile of the small model's entropy, the higher the score."""

    name, trained, needs_pass = "margin", False, True
    _p75 = NAMES.index("entropy_p75")

    def __init__(self, argument: str) -> None:
        """What follows the colon in `scorer = "margin:1.5"`: how fast the score falls."""
        self._rate = float(argument or 1)

    def score(self, inputs: ScorerInputs) -> float:
        return math.exp(-self._rate * max(0.0, float(inputs.features[self._p75])))
