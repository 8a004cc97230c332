"""Trials: where the small model answers, to be checked, before the large model is asked."""

from dataclasses import dataclass, field
from typing import Literal

TrialMode = Literal["sequential", "overlapped"]


@dataclass(frozen=True)
class TrialPlan:
    """The small model's answers that are checked before the large model's is waited for (docs/method.md, Checks).

    `stages`: where it tries, 0 from the bare question; empty: nowhere. `mode`: in `overlapped` the large model writes
    while the bare question is tried or scored, which costs more, and takes less time where each model has a device of its own. `repairs`: how often the small model
    may correct an answer of stage 0 that failed. `escalate_max_tokens`: a longer question whose trials failed gets the best trial,
    not the large model; 0: no limit.
    """

    stages: list[int] = field(default_factory=list)
    mode: TrialMode = "sequential"
    repairs: int = 0
    max_tokens: int = 0
    escalate_max_tokens: int = 0
