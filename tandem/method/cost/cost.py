"""What a request cost: USD from the profile's prices, TFLOPs by the paper's formula and in full (docs/method.md,
Cost).
"""

from collections.abc import Mapping
from typing import NamedTuple

from tandem.method.profile.prices import total
from tandem.method.request.plan import Plan
from tandem.method.request.result import Cost, Usage
from tandem.method.roles import LLM, SCORER, SLM, SMALL_ROLES
from tandem.method.tokens import TokenCounts

_MILLION, _TERA = 1e6, 1e12
_LEAST_CACHED = 1024  # tokens of a prompt: of a shorter one vendors keep nothing
TRIAL_FAILURE_TOKENS = 256  # the words that tell the small model why its answer failed, at most


def tflops_paper(
    llm_parameters: float, llm_tokens: float, slm_parameters: float, slm_tokens: float, read_tokens: float | None = None
) -> float:
    """2 [N_llm L_llm + N_slm (L_llm + L_slm)] / 1e12, L in generated tokens (arXiv 2604.23623; docs/method.md, Cost).

    The small model is charged once for reading the insight: all of the large model's tokens, or `read_tokens` of them.
    For a model alone set the other's parameters to 0.
    """
    read = llm_tokens if read_tokens is None else read_tokens
    return 2 * (llm_parameters * llm_tokens + slm_parameters * (read + slm_tokens)) / _TERA


def tflops_full(plan: Plan, usage: Usage) -> float:
    """All computed tokens: prefill, scoring passes, overrun and discarded tokens. Cached tokens cost nothing."""
    return 2 * sum(plan.models[role].parameters * counts.computed for role, counts in usage.items()) / _TERA


def cost(
    plan: Plan,
    usage: Usage,
    prompt_tokens: int,
    llm_answer: TokenCounts | None = None,
    *,
    is_read: bool = True,
    check_seconds: float = 0.0,
    is_comparable: bool = True,
    read_by: Mapping[str, int] | None = None,
    repeated: float = 0.0,
) -> Cost:
    """The bill; amounts are None where a price is not known. `prompt_tokens` is the plain question's prompt, which the
    large model alone would have read; `check_seconds` is the processor time of the checks. Where it is not
    `is_comparable`, nothing is saved, whatever the large model would have cost: there is no complete answer, or a limit
    ended what the large model wrote, as it would have alone.

    `llm_answer` is what the large model's own answer took, where it has answered: then the `llm_alone` figures are
    exact.
    Elsewhere they are estimates: the profile's calibration says how many tokens that model needs by itself. `is_read`:
    the small model answers from what the large one wrote; `read_by`: tokens of it that trials of further small models
    read, by role. `repeated`: the share of the prompt that the turn before it held too, which the large model alone
    would have had in its cache.
    """
    by_role = {role: plan.models[role].prices.usd(counts) for role, counts in usage.items()}
    usd = total(*by_role.values())
    read = as_cached(prompt_tokens, repeated)
    alone = _exact(plan, llm_answer) if llm_answer else _estimated(plan, read)
    low, high = (None, None) if llm_answer else _interval(plan, read)
    return Cost(
        usd=usd,
        usd_by_role=by_role,
        usd_llm_alone=alone.usd,
        usd_llm_alone_low=low,
        usd_llm_alone_high=high,
        saved_ratio=_saved(usd, alone.usd) if is_comparable else None,
        tflops_paper=_paper(plan, usage, usage[LLM].completion if is_read else 0, read_by or {}),
        tflops_full=tflops_full(plan, usage),
        tflops_llm_alone=alone.tflops,
        price_version=plan.price_version,
        usd_overrun=plan.llm.prices.usd(TokenCounts(overrun=usage[LLM].overrun)),
        seconds=_seconds(plan, usage, check_seconds),
        seconds_llm_alone=alone.seconds,
        check_seconds=check_seconds,
        llm_alone_is_exact=llm_answer is not None and not llm_answer.is_estimated,
    )


def as_cached(prompt_tokens: int, repeated: float) -> TokenCounts:
    """A prompt whose `repeated` share the turn before it held too, as a vendor's cache has it."""
    cached = int(prompt_tokens * repeated) if prompt_tokens >= _LEAST_CACHED else 0
    return TokenCounts(prompt_tokens - cached, cached)


def _paper(plan: Plan, usage: Usage, read_by_first: int, read_by: Mapping[str, int]) -> float:
    """Of the large model and the first small one by the formula, which charges a reader that wrote; further small ones
    likewise.
    """
    first = plan.slm.parameters if usage[SLM].generated else 0.0
    further = (
        tflops_paper(0.0, 0.0, plan.models[role].parameters, usage[role].completion, read_by.get(role, 0))
        for role in SMALL_ROLES[1:]
        if role in usage
    )
    return tflops_paper(plan.llm.parameters, usage[LLM].completion, first, usage[SLM].completion, read_by_first) + sum(
        further
    )


class _Alone(NamedTuple):
    """The large model alone; `seconds` is None where the profile has no measured rates."""

    usd: float | None
    tflops: float
    seconds: float | None


def _exact(plan: Plan, answer: TokenCounts) -> _Alone:
    rates = plan.llm.rates
    seconds = rates.seconds(answer.prompt, answer.cached, answer.generated) if rates else None
    return _Alone(plan.llm.prices.usd(answer), 2 * plan.llm.parameters * answer.computed / _TERA, seconds)


def _estimated(plan: Plan, read: TokenCounts) -> _Alone:
    tokens = plan.expected_alone(read.read).tokens
    seconds = plan.llm.rates.seconds(read.prompt, read.cached, tokens) if plan.llm.rates else None
    return _Alone(_usd_alone(plan, read, tokens), 2 * plan.llm.parameters * (read.prompt + tokens) / _TERA, seconds)


def _interval(plan: Plan, read: TokenCounts) -> tuple[float | None, float | None]:
    """95 %, of one answer, in USD; None where none is known."""
    expected = plan.expected_alone(read.read)
    return _usd_alone(plan, read, expected.low), _usd_alone(plan, read, expected.high)


def _usd_alone(plan: Plan, read: TokenCounts, tokens: float | None) -> float | None:
    prices = plan.llm.prices
    if tokens is None or not prices.is_known:
        return None
    return total(prices.usd(read), tokens * prices.output / _MILLION)


def _saved(usd: float | None, alone: float | None) -> float | None:
    if usd is None or alone is None:
        return None
    return 1 - usd / alone if alone else 0.0


def _seconds(plan: Plan, usage: Usage, check_seconds: float) -> float | None:
    """Device time of all roles and the checks; None where the profile has no measured rates, or none of a small model
    that was used.
    """
    if plan.llm.rates is None:
        return None
    used = {role: counts for role, counts in usage.items() if counts.read or counts.generated}
    times = [
        rates.seconds(counts.prompt, counts.cached, counts.generated) if (rates := plan.models[role].rates) else None
        for role, counts in used.items()
    ]
    return total(check_seconds, *times)


def worst_case_usd(plan: Plan, prompt_tokens: int, llm_tokens: int, answer_tokens: int) -> float:
    """Upper bound, all prices being known, for a request whose large model generates `llm_tokens` and whose small one
    `answer_tokens`.

    Each stage after the first reads the earlier ones again from the scorer's cache; so does the small model's prefill.
    """
    prompt_llm = prompt_tokens if llm_tokens else 0
    prefilled = prompt_tokens + llm_tokens
    cached = len(plan.stages) * prefilled if llm_tokens else 0
    llm, slm, scorer = (plan.models[role].prices for role in (LLM, SLM, SCORER))
    uses = plan.most_uses if llm_tokens else {}
    fees = sum(fee * uses.get(tool, 0) for tool, fee in llm.fees.items())
    return (
        fees
        + (
            prompt_llm * llm.most_input
            + llm_tokens * llm.output
            + prefilled * (scorer.most_input + slm.most_input)
            + cached * scorer.cached_input
            + (cached * slm.cached_input if plan.prefill_ahead else 0)
            + answer_tokens * slm.output
        )
        / _MILLION
    )


def worst_case_usd_of_trials(plan: Plan, prompt_tokens: int, llm_tokens: int) -> float:
    """Upper bound of all trials: each takes all its tokens, and a repair reads what the trial before it wrote."""
    trial = plan.trial
    read = prompt_tokens + llm_tokens + trial.max_tokens + TRIAL_FAILURE_TOKENS
    priced = [(trial.number_of(role), plan.models[role].prices) for role in trial.order]
    each = (number * (read * price.most_input + trial.max_tokens * price.output) for number, price in priced)
    return sum(each) / _MILLION
