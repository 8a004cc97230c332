"""Whether a request's budget pays for any answer."""

from __future__ import annotations

from tandem.method.cost.allowance import allowance
from tandem.method.errors import ResourceExhausted
from tandem.method.request.plan import Plan
from tandem.method.request.request import Budget

_MIN_ANSWER_TOKENS = 16


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
