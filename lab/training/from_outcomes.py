"""`tandem calibrate --from-outcomes`: what the outcomes of served requests say of the profile's policies
(docs/stop-rule.md).

A request that was accepted by some evidence is accepted by every policy that asks for no more, and not by one that asks
for more. So the outcomes that a policy's step or a looser one served judge it, and no text is needed: only what the
evidence was worth, and what was lost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from lab.training.errors import TooFew
from lab.training.promise import Promise, upper_bound
from services.shared.checks.built_in import least_of
from tandem.method.conversation import Kind
from tandem.method.evidence.checks import EXAMPLES, CheckSpec
from tandem.method.profile.profile import Profile
from tandem.method.profile.promise import PromiseData, PromiseMade
from tandem.method.rule.stop_rule import NEVER
from tandem.method.rule.strictness import by_steps


@dataclass(frozen=True)
class ReportedOutcome:
    """`lost` 0..1 counts as a loss wherever it is above 0. `step` is that of the policy it was served by, `score` of
    the stage that was answered from.
    """

    lost: float
    step: int
    strength: int = 0
    score: float | None = None


@dataclass(frozen=True)
class Judged:
    """A policy by the outcomes: `lost` of `n`, at most the share `bound`. `step` counts from the profile as it is."""

    step: int
    profile: Profile
    evidence: str
    lost: int
    n: int
    bound: float
    is_accepted: bool


def judge_by_outcomes(
    profile: Profile, kind: Kind, outcomes: Sequence[ReportedOutcome], promise: Promise
) -> list[Judged]:
    """The strictest policy first, up to the first that is not shown to keep the promise; the last is the profile as it
    is.

    Raises TooFew where no outcome was kept, or the policy accepts by scores of more than the bare question.
    """
    if not outcomes:
        raise TooFew(f"no outcome of {kind} is kept: tenants consent by keep_outcomes_days")
    steps = by_steps(profile, kind)
    if kind != "code" and any(stage.threshold < NEVER for stage in profile.stages):
        raise TooFew(
            "outcomes judge scores of the bare question alone: what a later stage would have come to, they do not tell"
        )
    found = list[Judged]()
    accepting = [step for step, policy in enumerate(steps) if policy.accepts(kind)]
    for step in reversed(accepting):
        policy = steps[step]
        seen = [outcome for outcome in outcomes if outcome.step <= step]
        lost = sum(outcome.lost > 0 and _accepts(policy, kind, outcome) for outcome in seen)
        bound = upper_bound(lost, len(seen), promise.confidence)
        is_accepted = bound <= promise.lose_at_most
        found.append(Judged(step, policy, policy.evidence(kind), lost, len(seen), bound, is_accepted))
        if not is_accepted:
            break
    return found


def made_by_outcomes(kind: Kind, judged: Judged, outcomes: Sequence[ReportedOutcome], promise: Promise) -> PromiseMade:
    """As the profile states it; the outcomes stand in the place of a file."""
    digest = hashlib.sha256(repr(list(outcomes)).encode()).hexdigest()
    data = PromiseData(dataset="outcomes", questions=len(outcomes), file_sha256=digest, questions_sha256=digest)
    return PromiseMade(
        task=kind,
        lose_at_most=promise.lose_at_most,
        confidence=promise.confidence,
        bound=round(judged.bound, 6),
        lost=judged.lost,
        n=judged.n,
        evidence=judged.evidence,
        data=(data,),
    )


def _accepts(policy: Profile, kind: Kind, outcome: ReportedOutcome) -> bool:
    """Of an answer that was accepted by a policy which asks for no more than this one."""
    if kind == "code":
        own = [spec for spec in map(CheckSpec.parse, policy.checks.code) if spec.name == EXAMPLES]
        is_tried = kind in policy.trial.tasks
        return is_tried and all(outcome.strength >= least_of(spec.argument) for spec in own)
    return kind in policy.stop.tasks and (outcome.score or 0.0) >= policy.stop.stage_zero_threshold
