"""What a budget leaves of a plan, and the most that a request may be billed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tandem.method.cost.cost import worst_case_usd, worst_case_usd_of_trials
from tandem.method.errors import ResourceExhausted
from tandem.method.request.job import Job
from tandem.method.request.plan import Plan
from tandem.method.request.request import Budget

# Tokens that the templates add to a question, at most; a budget is a bound, so it is rounded up.
TEMPLATE_TOKENS = 96
_MIN_ANSWER_TOKENS = 16


@dataclass(frozen=True)
class Allowance:
    """What the budget leaves of the plan: the stages' caps (cumulative tokens) and the answer's, and whether it also
    pays for trials.

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


def most_usd(task: Job) -> float:
    """Upper bound of a request's bill, attempts that are lost left out."""
    budget, prompt = task.request.budget, task.question_tokens + TEMPLATE_TOKENS
    allowed = allowance(task.plan, budget, task.question_tokens)
    llm_tokens = max(allowed.llm_caps, default=0)
    most = worst_case_usd(task.plan, prompt, llm_tokens, allowed.answer_tokens)
    if (task.checks or task.plan.is_llm_alone) and allowed.pays_for_trials:
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


def check_budget(plan: Plan, budget: Budget, tokens: int) -> None:
    """Raises ResourceExhausted, and InvalidArgument where it is in USD and a price is not known."""
    if budget.max_cost_usd is not None:
        plan.prices.require_known("budget.max_cost_usd")
    if allowance(plan, budget, tokens).answer_tokens < min(_MIN_ANSWER_TOKENS, plan.answer_max_tokens):
        raise ResourceExhausted(
            f"a budget of {budget.max_cost_usd} USD does not pay for reading the question and an answer of "
            f"{_MIN_ANSWER_TOKENS} tokens; raise budget.max_cost_usd or shorten the question",
            reason="BUDGET_TOO_SMALL",
        )
