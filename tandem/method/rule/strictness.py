"""The policies of a profile, ordered by strictness, before any data is seen (docs/method.md, A promise)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tandem.method.conversation import Kind
from tandem.method.evidence.checks import EXAMPLES
from tandem.method.profile.profile import Profile
from tandem.method.rule.stop_rule import NEVER

STRENGTHS = (10, 8, 6, 5, 4, 3, 2, 1)
THRESHOLDS = (0.99, 0.98, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5, 0.4, 0.3, 0.2, 0.1)


def stricter(profile: Profile, kind: Kind) -> Iterator[Profile]:
    """The profile's policy for a kind of task, the strictest form first; none where nothing of the small model is
    accepted.

    A trial's examples must count as much as STRENGTHS say. A score must reach each of THRESHOLDS that is above the
    profile's own, and at last that.
    """
    if profile.trial.stages and kind == "code" and kind in profile.trial.tasks:
        others = [str(spec) for spec in profile.checks.code if spec.partition(":")[0] != EXAMPLES]
        for strength in STRENGTHS:
            checks = (f"{EXAMPLES}:weight={strength}", *others)
            yield profile.model_copy(update={"checks": profile.checks.model_copy(update={"code": checks})})
    elif kind in profile.stop.tasks:
        own = (profile.stop.stage_zero_threshold, *(stage.threshold for stage in profile.stages))
        least = min(own)
        for threshold in (*(t for t in THRESHOLDS if t > least), least):
            if threshold < NEVER:
                yield _with_thresholds(profile, [max(each, threshold) for each in own])


def by_steps(profile: Profile, kind: Kind) -> list[Profile]:
    """The profile as it is, then each time a step stricter; at last, where it can finish, the large model answers
    everything.
    """
    family = list(stricter(profile, kind))
    own = next((i for i, each in enumerate(family) if each.evidence(kind) == profile.evidence(kind)), len(family))
    last = [_large_alone(profile, kind)] if profile.handoff == "continuation" else []
    return [profile, *reversed(family[:own]), *last]


def _with_thresholds(profile: Profile, thresholds: Sequence[float]) -> Profile:
    stop = profile.stop.model_copy(update={"stage_zero_threshold": thresholds[0]})
    pairs = zip(profile.stages, thresholds[1:], strict=True)
    stages = tuple(stage.model_copy(update={"threshold": threshold}) for stage, threshold in pairs)
    return profile.model_copy(update={"stop": stop, "stages": stages})


def _large_alone(profile: Profile, kind: Kind) -> Profile:
    gone = (kind, "answer") if kind == "option" else (kind,)  # scores and trials would take it as a final answer
    trial = profile.trial.model_copy(update={"tasks": tuple(task for task in profile.trial.tasks if task not in gone)})
    tasks = tuple(task for task in profile.stop.tasks if task not in gone)
    stop = profile.stop.model_copy(update={"tasks": tasks, "otherwise": "llm_finishes"})
    kinds = tuple(each for each in profile.agreement.kinds if each not in gone)
    agreement = profile.agreement.model_copy(update={"kinds": kinds})
    return profile.model_copy(update={"trial": trial, "stop": stop, "agreement": agreement})
