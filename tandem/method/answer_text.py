"""Where the answer's text comes from, as far as that is known before a word is written: for readers that show it live."""

from enum import StrEnum

from tandem.method.request import SolveInput
from tandem.method.stop_rule import allowance, is_scored, thresholds


class AnswerText(StrEnum):
    """The enum tandem.v1.AnswerText. `unspecified`: only the result says it."""

    UNSPECIFIED = "unspecified"
    INSIGHT = "insight"
    CONTINUATION = "continuation"
    ANSWER = "answer"


def answer_text(task: SolveInput) -> AnswerText:
    plan = task.plan
    is_tried = bool(task.checks and plan.trial.stages)  # the text of a trial that failed is discarded
    if plan.answer_format != "whole" or is_tried:
        return AnswerText.UNSPECIFIED
    if plan.handoff != "continuation":
        return AnswerText.ANSWER
    finishes = allowance(plan, task.request.budget, task.question_tokens).finish is not None
    may_stop = any(is_scored(threshold, finishes) for threshold in thresholds(plan))
    return AnswerText.CONTINUATION if may_stop else AnswerText.INSIGHT
