"""When the insight suffices, and what to do when it never does. The workflow and the evaluation both call it.

Readers that show an answer live learn from the plan, before a word is written, where its text comes from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from tandem.method.cost import worst_case_usd, worst_case_usd_of_trials
from tandem.method.plan import Plan
from tandem.method.request import Budget, SolveInput
from tandem.method.result import Stop, StopReason
from tandem.method.tasks import StageScore

# Tokens that the templates add to a question, at most; a budget is a bound, so it is rounded up.
TEMPLATE_TOKENS = 96
NEVER = 1.0
"""A threshold that no calibrated score reaches."""


@dataclass(frozen=True)
class Allowance:
    """What the budget leaves of the plan: the stages' caps (cumulative tokens) and the answer's, and whether it also pays for trials.

    `finish` is the cap of a large model that may finish where no stage suffices, else None.
    """

    caps: list[int]
    finish: int | None
    answer_tokens: int
    is_limited: bool
    pays_for_trials: bool = True

    @property
    def llm_caps(self) -> list[int]:
        return self.caps if self.finish is None else [*self.caps, self.finish]


def is_sufficient(score: float | None, threshold: float) -> bool:
    return score is not None and score >= threshold


def is_scored(threshold: float, llm_finishes: bool) -> bool:
    """A score that cannot reach the threshold would only serve to find the best of the stages."""
    return threshold < NEVER or not llm_finishes


def is_prefilled(stage: int, thresholds: Sequence[float], llm_finishes: bool) -> bool:
    """A stage that did not suffice is prefilled where a later one may suffice: the answer's prompt then begins with it."""
    return any(is_scored(threshold, llm_finishes) for threshold in thresholds[stage + 1 :])


def decide(score: StageScore, threshold: float) -> Stop | None:
    """After each stage: stop here, or None to let the large model go on."""
    if is_sufficient(score.score, threshold):
        return Stop(score.stage, StopReason.SUFFICIENT, score.score, threshold)
    return None


def fall_back(scores: Sequence[StageScore], thresholds: Sequence[float], reason: StopReason) -> Stop:
    """No stage passed: the one with the highest score, the earlier of equals (docs/method.md, Stop rule); the last if none has one."""
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


def allowance(plan: Plan, budget: Budget, question_tokens: int) -> Allowance:
    """The stages that fit the budget even if every one of them is written and the answer takes all its tokens.

    Where not even the bare question's answer fits, the answer's cap shrinks; 0 means that nothing can be afforded.
    """
    planned = [stage.max_tokens for stage in plan.stages]
    finishes = plan.llm_finishes and plan.answer_max_tokens > max(planned, default=0)
    caps = [*planned, plan.answer_max_tokens] if finishes else planned
    if budget.max_llm_tokens is not None:
        caps = _capped(caps, budget.max_llm_tokens)
    answer = plan.answer_max_tokens
    if budget.max_cost_usd is not None:
        prompt = question_tokens + TEMPLATE_TOKENS
        caps = [c for c in caps if worst_case_usd(plan, prompt, c, answer) <= budget.max_cost_usd]
        if not caps:
            left = budget.max_cost_usd - worst_case_usd(plan, prompt, 0, 0)
            affordable = left / (output / 1e6) if (output := plan.slm.prices.output) else float(answer)
            answer = max(0, min(answer, int(affordable)))
    finish = plan.answer_max_tokens if finishes and caps[-1:] == [plan.answer_max_tokens] else None
    stages = caps[: len(planned)]
    is_limited = stages != planned or (finishes and finish is None)
    return Allowance(stages, finish, answer, is_limited, _pays_for_trials(plan, budget, question_tokens, caps, answer))


def most_usd(task: SolveInput) -> float:
    """Upper bound of a request's bill, attempts that are lost left out."""
    budget, prompt = task.request.budget, task.question_tokens + TEMPLATE_TOKENS
    allowed = allowance(task.plan, budget, task.question_tokens)
    llm_tokens = max(allowed.llm_caps, default=0)
    most = worst_case_usd(task.plan, prompt, llm_tokens, allowed.answer_tokens)
    if (task.checks or task.plan.may_call) and allowed.pays_for_trials:
        most += worst_case_usd_of_trials(task.plan, prompt, llm_tokens)
    return most if budget.max_cost_usd is None else min(most, budget.max_cost_usd)


def _pays_for_trials(plan: Plan, budget: Budget, question_tokens: int, caps: Sequence[int], answer: int) -> bool:
    if budget.max_cost_usd is None:
        return True
    prompt = question_tokens + TEMPLATE_TOKENS
    llm_tokens = caps[-1] if caps else 0
    rest = worst_case_usd(plan, prompt, llm_tokens, answer)
    return rest + worst_case_usd_of_trials(plan, prompt, llm_tokens) <= budget.max_cost_usd


def _capped(caps: Sequence[int], most: int) -> list[int]:
    kept = [cap for cap in caps if cap <= most]
    next_cap_is_cut = len(kept) < len(caps) and most > (kept[-1] if kept else 0)
    return [*kept, most] if next_cap_is_cut else kept


class AnswerText(StrEnum):
    """The enum tandem.v1.AnswerText. `unspecified`: only the result says it; `message`: the same, but for what the large model has
    `said`, and deltas are in the models' formats.
    """

    UNSPECIFIED = "unspecified"
    INSIGHT = "insight"
    CONTINUATION = "continuation"
    ANSWER = "answer"
    MESSAGE = "message"


def answer_text(task: SolveInput) -> AnswerText:
    plan = task.plan
    if plan.may_call:
        return AnswerText.MESSAGE
    is_tried = bool(task.checks and plan.trial.stages)  # the text of a trial that failed is discarded
    if plan.answer_format != "whole" or is_tried:
        return AnswerText.UNSPECIFIED
    if plan.handoff != "continuation":
        return AnswerText.ANSWER
    finishes = allowance(plan, task.request.budget, task.question_tokens).finish is not None
    may_stop = any(is_scored(threshold, finishes) for threshold in thresholds(plan))
    return AnswerText.CONTINUATION if may_stop else AnswerText.INSIGHT
