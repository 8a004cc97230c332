"""The most that a request can cost and compute, whatever the caches do: what is set aside before it begins."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from tandem.method.cost.allowance import TEMPLATE_TOKENS, Allowance, allowance
from tandem.method.cost.cost import TRIAL_FAILURE_TOKENS
from tandem.method.profile.prices import RolePrices, total
from tandem.method.request.charge import Charge, nano_usd
from tandem.method.request.job import Job
from tandem.method.request.plan import Plan
from tandem.method.request.result import SolveResult, Usage
from tandem.method.roles import LLM, SCORER, SLM
from tandem.method.tokens import TokenCounts


def upper_bound(task: Job) -> Charge:
    """Every stage is written and read from its beginning, every trial is made, nothing is in a cache; an API counts as
    many tokens of its prompt as it can. The tokens are those that are likely: they limit no bill.

    A bill can be higher by what lost attempts generated; nobody can know that before.
    """
    plan, most = task.plan, task.request.budget.max_cost_usd
    allowed = allowance(plan, task.request.budget, task.question_tokens)
    usage = _worst_usage(task, allowed, _most_read(task))
    usd, counted = _usd(usage, plan, _dearest), _usd(_counted(usage, plan), plan, _dearest)
    if usd is not None and counted is not None and most is not None:
        usd = min(usd, max(most, counted))
    return Charge(nano_usd(usd), _computed(_worst_usage(task, allowed, _likely_read(task))))


def held_to(usage: Usage, plan: Plan, most_usd: float | None) -> Usage:
    """Where the bill is more than `most_usd`, less of what APIs alone report: their prompts and the uses of their
    vendors' tools, which are estimates then.

    What was counted piece by piece stays, and so does what own engines counted.
    """
    usd, counted = _usd(usage, plan), _usd(_counted(usage, plan), plan)
    if most_usd is None or usd is None or counted is None or usd <= max(most_usd, counted):
        return usage
    share = max(0.0, (most_usd - counted) / (usd - counted))
    return {
        role: _shrunk(counts, share) if plan.models[role].is_api and (counts.read or counts.tool_uses) else counts
        for role, counts in usage.items()
    }


def _shrunk(counts: TokenCounts, share: float) -> TokenCounts:
    uses = {tool: int(number * share) for tool, number in counts.tool_uses.items()}
    return replace(counts.reading(int(counts.read * share)), is_estimated=True, tool_uses=uses)


def charge_of(result: SolveResult) -> Charge:
    """The bill."""
    return Charge(nano_usd(result.cost.usd), _computed(result.usage))


def _likely_read(task: Job) -> dict[str, int]:
    """The plain question's prompt by role."""
    return dict.fromkeys(task.plan.models, task.question_tokens + TEMPLATE_TOKENS)


def _most_read(task: Job) -> dict[str, int]:
    """The same where each API counts all that it can."""
    models = task.plan.models
    return {
        role: max(likely, task.most_prompt) if models[role].is_api else likely
        for role, likely in _likely_read(task).items()
    }


def _worst_usage(task: Job, allowed: Allowance, prompt: Mapping[str, int]) -> Usage:
    plan, caps = task.plan, allowed.llm_caps
    written = caps[-1] if caps else 0
    read = {role: tokens + written for role, tokens in prompt.items()}
    num_prefills = len(plan.stages) + 1 if plan.prefill_ahead else 1
    usage = {role: TokenCounts() for role in plan.models} | {
        LLM: TokenCounts(prompt=prompt[LLM], completion=written, tool_uses=plan.most_uses)
        if written
        else TokenCounts(),
        SLM: TokenCounts(prompt=num_prefills * read[SLM], completion=allowed.answer_tokens),
        SCORER: TokenCounts(prompt=(len(plan.stages) + 1) * read[SCORER]),
    }
    if (task.checks or plan.trial.agree) and allowed.pays_for_trials:
        trial = plan.trial
        for role in set(trial.order):
            tokens = read[role] + trial.max_tokens + TRIAL_FAILURE_TOKENS
            of_each = TokenCounts(prompt=tokens, completion=trial.max_tokens)
            usage[role] = sum([of_each] * trial.number_of(role), usage[role])
    return usage


def _counted(usage: Usage, plan: Plan) -> Usage:
    """Without what APIs alone report."""
    return {
        role: replace(counts, prompt=0, cached=0, written=0, written_hour=0, tool_uses={})
        if plan.models[role].is_api
        else counts
        for role, counts in usage.items()
    }


def _usd(usage: Usage, plan: Plan, prices: Callable[[RolePrices], RolePrices] = lambda same: same) -> float | None:
    return total(*(prices(plan.models[role].prices).usd(counts) for role, counts in usage.items()))


def _dearest(prices: RolePrices) -> RolePrices:
    return replace(prices, input=prices.most_input)


def _computed(usage: Usage) -> int:
    return sum(counts.computed for counts in usage.values())
