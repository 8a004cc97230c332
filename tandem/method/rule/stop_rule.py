"""When the insight suffices, and what to do when it never does. The workflow and the evaluation both call it.

Readers that show an answer live learn from the plan, before a word is written, where its text comes from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tandem.method.answer import shows_all
from tandem.method.cost.allowance import allowance
from tandem.method.request.events import AnswerText
from tandem.method.request.job import Job
from tandem.method.request.plan import Plan
from tandem.method.request.result import Stop, StopReason
from tandem.method.request.tasks import StageScore

NEVER = 1.0
"""A threshold that no calibrated score reaches."""
MEMBERS: Mapping[str, tuple[float | None, int | None]] = {"large": (NEVER, None), "slm": (None, 0)}
"""A profile's models by name, as `profile/slm`: no stage suffices, or the large model writes none."""


def member_of(name: str) -> tuple[str, float | None, int | None]:
    """Profile, and threshold and last stage where it is a model of the profile by its name."""
    profile, _, member = name.rpartition("/")
    return (profile, *MEMBERS[member]) if profile and member in MEMBERS else (name, None, None)


def is_sufficient(score: float | None, threshold: float) -> bool:
    return score is not None and score >= threshold


def is_scored(threshold: float, llm_finishes: bool) -> bool:
    """A score that cannot reach the threshold would only serve to find the best of the stages."""
    return threshold < NEVER or not llm_finishes


def is_prefilled(stage: int, thresholds: Sequence[float], llm_finishes: bool) -> bool:
    """A stage that did not suffice is prefilled where a later one may suffice: the answer's prompt then begins with
    it.
    """
    return any(is_scored(threshold, llm_finishes) for threshold in thresholds[stage + 1 :])


def decide(score: StageScore, threshold: float) -> Stop | None:
    """After each stage: stop here, or None to let the large model go on."""
    if is_sufficient(score.score, threshold):
        return Stop(score.stage, StopReason.SUFFICIENT, score.score, threshold)
    return None


def fall_back(scores: Sequence[StageScore], thresholds: Sequence[float], reason: StopReason) -> Stop:
    """No stage passed: the one with the highest score, the earlier of equals (docs/method.md, Stop rule); the last if
    none has one.
    """
    scored = [s for s in scores if s.score is not None]
    if scored:
        best = max(scored, key=lambda s: (s.score or 0.0, -s.stage))
        return Stop(best.stage, reason, best.score, thresholds[best.stage])
    last = max((s.stage for s in scores if not s.ended), default=0)
    failed_open = reason is StopReason.BEST_STAGE and bool(scores)
    return Stop(last, StopReason.SCORER_FAILED_OPEN if failed_open else reason, None, thresholds[last])


def thresholds(plan: Plan) -> list[float]:
    """Threshold of stage 0, 1, 2, ..."""
    return [plan.stage_zero_threshold, *(stage.threshold for stage in plan.stages)]


def answer_text(task: Job) -> AnswerText:
    plan = task.plan
    if plan.may_call:
        return AnswerText.MESSAGE
    is_tried = (
        bool(task.checks and plan.trial.stages) or plan.trial.agree > 0
    )  # the text of a trial that failed is discarded
    if not shows_all(plan.answer_format) or is_tried:
        return AnswerText.UNSPECIFIED
    if plan.handoff != "continuation":
        return AnswerText.ANSWER
    finishes = allowance(plan, task.request.budget, task.question_tokens).finish is not None
    may_stop = any(is_scored(threshold, finishes) for threshold in thresholds(plan))
    return AnswerText.CONTINUATION if may_stop else AnswerText.INSIGHT
