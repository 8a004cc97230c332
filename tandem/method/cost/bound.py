"""The most that a request can cost and compute, whatever the caches do: what is set aside before it begins."""

from dataclasses import replace

from tandem.method.cost.allowance import TEMPLATE_TOKENS, Allowance, allowance
from tandem.method.cost.cost import TRIAL_FAILURE_TOKENS
from tandem.method.profile.prices import RolePrices, total
from tandem.method.request.charge import Charge, nano_usd
from tandem.method.request.request import SolveInput
from tandem.method.request.result import SolveResult, Usage
from tandem.method.roles import LLM, SCORER, SLM
from tandem.method.tokens import TokenCounts


def upper_bound(task: SolveInput) -> Charge:
    """Every stage is written and read from its beginning, every trial is made, nothing is in a cache.

    A bill can be higher by what lost attempts generated; nobody can know that before.
    """
    usage = _worst_usage(task, allowance(task.plan, task.request.budget, task.question_tokens))
    usd = total(*(_dearest(task.plan.models[role].prices).usd(counts) for role, counts in usage.items()))
    return Charge(nano_usd(usd), _computed(usage))


def charge_of(result: SolveResult) -> Charge:
    """The bill."""
    return Charge(nano_usd(result.cost.usd), _computed(result.usage))


def _worst_usage(task: SolveInput, allowed: Allowance) -> Usage:
    plan, caps = task.plan, allowed.llm_caps
    written = caps[-1] if caps else 0
    prompt = task.question_tokens + TEMPLATE_TOKENS
    read = prompt + written
    num_prefills = len(plan.stages) + 1 if plan.prefill_ahead else 1
    usage = {role: TokenCounts() for role in plan.models} | {
        LLM: TokenCounts(prompt=prompt if written else 0, completion=written),
        SLM: TokenCounts(prompt=num_prefills * read, completion=allowed.answer_tokens),
        SCORER: TokenCounts(prompt=(len(plan.stages) + 1) * read),
    }
    if (task.checks or plan.trial.agree) and allowed.pays_for_trials:
        trial = plan.trial
        of_each = TokenCounts(prompt=read + trial.max_tokens + TRIAL_FAILURE_TOKENS, completion=trial.max_tokens)
        for role in set(trial.order):
            usage[role] = sum([of_each] * trial.number_of(role), usage[role])
    return usage


def _dearest(prices: RolePrices) -> RolePrices:
    return replace(prices, input=prices.most_input)


def _computed(usage: Usage) -> int:
    return sum(counts.computed for counts in usage.values())
