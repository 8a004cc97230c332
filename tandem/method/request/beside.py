"""A request that was sampled: all models answer it, so that it teaches a promise something (docs/promise.md)."""

# No `from __future__ import annotations`: see tandem.method.request.request.
from collections.abc import Sequence
from dataclasses import dataclass, field

from tandem.method.promise.arms import Arm, Same
from tandem.method.request.job import Job, Step
from tandem.method.request.learning import ArmSeen
from tandem.method.request.tasks import GenerationOutcome


@dataclass(frozen=True)
class BesideInput:
    """`steps`: of all small models, in order. `known`: whole answers that the request itself has, by role, which are
    not asked for again.
    """

    job: Job
    steps: list[Step]
    known: dict[str, GenerationOutcome] = field(default_factory=dict)


@dataclass(frozen=True)
class BesideResult:
    """`usd_paid`: what was asked only to learn, without models whose price is not known. `is_counted`: False where some
    model gave nothing to compare, or the kind has begun anew meanwhile; `why` says it.
    """

    kind: str
    usd_paid: float
    is_counted: bool
    why: str = ""


@dataclass(frozen=True)
class Dispute:
    """What a label is given for: the large model's answer and the one that an arm takes, which say something else."""

    question: str
    of_large: str
    of_small: str


@dataclass(frozen=True)
class Answers:
    """Of one request, by the place of the small models: which answers are `usable`, whether two are the `same`, whether
    each `differs` from the large model's, and USD of all. `strength`: what the examples count that they passed.
    """

    usable: Sequence[bool]
    same: Same
    differs: Sequence[bool]
    usd: Sequence[float]
    large: float
    strength: int = 0

    def seen_by(self, arm: Arm) -> ArmSeen:
        """What the arm would have done. Where the prompt's examples count too little no model is asked."""
        if arm.weight > self.strength:
            return ArmSeen(False, False, 0.0)
        taken = arm.taken(self.usable, self.same)
        asked = sum(self.usd[: arm.requested(self.usable, self.same)])
        if taken is None:
            return ArmSeen(False, False, -asked)
        return ArmSeen(True, self.differs[taken], self.large - asked)
