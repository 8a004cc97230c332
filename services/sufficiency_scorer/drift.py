"""How far what is scored now lies from what the scorer was trained on: a shifted domain is seen, not guessed."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from services.sufficiency_scorer.artefact import TrainedScorer
from services.sufficiency_scorer.evidence import Evidence
from services.sufficiency_scorer.scorers import Scorer

_WINDOW = 200


class Drift:
    """Over the last 200 requests' first scored stage: later stages are only reached by questions that did not stop
    before, so their features would seem shifted without any shift.
    """

    def __init__(self, scorer: Scorer, first_stage: int) -> None:
        self._scorer, self._first_stage = scorer, first_stage
        self._seen: deque[NDArray[np.float64]] = deque(maxlen=_WINDOW)

    def see(self, evidence: Evidence) -> None:
        if isinstance(self._scorer, TrainedScorer) and evidence.stage == self._first_stage:
            surprise = self._scorer.surprise(evidence)
            if surprise is not None:
                self._seen.append(surprise)

    @property
    def watched(self) -> tuple[str, ...]:
        return self._scorer.watched if isinstance(self._scorer, TrainedScorer) else ()

    @property
    def requests(self) -> int:
        return len(self._seen)

    def shift(self) -> NDArray[np.float64]:
        """Mean distance of each that is `watched` from its mean at training, signed, in standard deviations, float64."""
        return np.mean(self._seen, axis=0) if self._seen else np.zeros(0)
