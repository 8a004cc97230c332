"""What the counts of a kind decide, done and said: arms are shown, serve, stop, and are closed (docs/promise.md)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from services.shared.request_log.learned import Learned, LearnedChange, Lesson
from tandem.method.promise.arms import Arm
from tandem.method.promise.rule import Terms
from tandem.method.promise.standing import Decision, Standing, decide


async def decide_now(
    learned: Learned, lesson: Lesson, arms: Sequence[Arm], terms: Terms, now: datetime
) -> list[LearnedChange]:
    """The changes that this call made: of callers at the same moment one makes each. Raises Unavailable."""
    standing = await learned.standing(lesson, len(arms))
    made = []
    for decision in decide(standing, terms):
        change = _change(decision, standing, lesson, arms, now)
        if await _is_done(learned, lesson, standing.epoch, decision, change, len(arms)):
            made.append(change)
    return made


async def _is_done(
    learned: Learned, lesson: Lesson, epoch: int, decision: Decision, change: LearnedChange, num_arms: int
) -> bool:
    if decision.what == "closed":
        return await learned.close(lesson, epoch, change)
    if decision.what != "shown":
        return await learned.serve(lesson, epoch, decision.arm, change)
    assert decision.arm is not None
    number = decision.arm + 1
    return await learned.show(lesson, epoch, number, is_all=number == num_arms, change=change)


def _change(
    decision: Decision, standing: Standing, lesson: Lesson, arms: Sequence[Arm], now: datetime
) -> LearnedChange:
    """Of an arm that stops: its name."""
    number = standing.serving if decision.arm is None else decision.arm
    name = "" if number is None else arms[number].name
    return LearnedChange(decision.what, lesson.kind, name, decision.why, standing.counts.sampled, now)
