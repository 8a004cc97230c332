"""Distribution shift: how far recent requests lie from the questions that the scorer was trained on."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from services.sufficiency_scorer.artefact import TrainedScorer
from services.sufficiency_scorer.scorer_inputs import ScorerInputs
from services.sufficiency_scorer.scorers import Scorer

_WINDOW = 200


class DriftMonitor:
    """Mean z-scores over the first scored stage of the last 200 requests.

    Later stages are left out: only questions that did not stop before reach them, which would look like a shift.
    """

    def __init__(self, scorer: Scorer, first_stage: int) -> None:
        self._scorer, self._first_stage = scorer, first_stage
        self._window: deque[NDArray[np.float64]] = deque(maxlen=_WINDOW)

    def observe(self, inputs: ScorerInputs) -> None:
        if isinstance(self._scorer, TrainedScorer) and inputs.stage == self._first_stage:
            z_scores = self._scorer.z_scores(inputs)
            if z_scores is not None:
                self._window.append(z_scores)

    @property
    def monitored(self) -> tuple[str, ...]:
        """Names of the entries of `shift`; empty for an untrained scorer."""
        return self._scorer.monitored if isinstance(self._scorer, TrainedScorer) else ()

    @property
    def requests(self) -> int:
        return len(self._window)

    def shift(self) -> NDArray[np.float64]:
        """Mean z-score of each monitored input, signed, float64; empty before the first request."""
        return np.mean(self._window, axis=0) if self._window else np.zeros(0)
