"""The cost of a request: USD from the profile's prices, TFLOPs by the paper's formula and in full (docs/method.md, Cost)."""

from __future__ import annotations

from tandem.method.prices import RolePrices
from tandem.method.shared import Cost, Plan, RoleUsage, Usage, UsdByRole
from tandem.method.tokens import TokenCounts

_MILLION, _TERA = 1e6, 1e12


def tflops_paper(llm_parameters: float, llm_tokens: float, slm_parameters: float, slm_tokens: float) -> float:
    """TFLOPs by the paper's formula (docs/method.md, Cost): 2 [N_llm L_llm + N_slm (L_llm + L_slm)] / 1e12.

    N are parameters, L generated tokens. The small model is charged once for prefilling the insight. For one model alone
    set the other's parameters to 0.
    """
    return 2 * (llm_parameters * llm_tokens + slm_parameters * (llm_tokens + slm_tokens)) / _TERA


def tflops_full(plan: Plan, usage: Usage) -> float:
    """TFLOPs of everything that was computed: prefill, scoring passes, overrun and discarded tokens. Cached tokens are free."""
    slm = _computed(usage.slm) + _computed(usage.scorer)
    return 2 * (plan.llm_parameters * _computed(usage.llm) + plan.slm_parameters * slm) / _TERA


def usd(usage: RoleUsage, prices: RolePrices) -> float:
    """USD of one role's tokens."""
    return prices.usd(
        TokenCounts(
            usage.input_tokens,
            usage.cached_input_tokens,
            usage.output_tokens,
            usage.overrun_tokens,
            usage.discarded_tokens,
        )
    )


def cost(plan: Plan, usage: Usage, prompt_tokens: int, llm_finished: bool = False) -> Cost:
    """The bill. `prompt_tokens` is the length of the prompt that the large model alone would have been given.

    The `llm_alone` figures are exact if the large model answered (`llm_finished`). Otherwise they are estimates, from the
    number of tokens that the model needs alone by the profile's calibration.
    """
    by_role = UsdByRole(
        llm=usd(usage.llm, plan.prices.llm),
        slm=usd(usage.slm, plan.prices.slm),
        scorer=usd(usage.scorer, plan.prices.scorer),
    )
    total = by_role.llm + by_role.slm + by_role.scorer
    alone_tokens = usage.llm.output_tokens if llm_finished else plan.llm_alone_output_tokens
    alone = (prompt_tokens * plan.prices.llm.input + alone_tokens * plan.prices.llm.output) / _MILLION
    slm_parameters = plan.slm_parameters if _generated(usage.slm) else 0.0
    return Cost(
        usd=total,
        usd_by_role=by_role,
        usd_llm_alone=alone,
        saved_ratio=1 - total / alone if alone else 0.0,
        tflops_paper=tflops_paper(
            plan.llm_parameters, usage.llm.output_tokens, slm_parameters, usage.slm.output_tokens
        ),
        tflops_full=tflops_full(plan, usage),
        tflops_llm_alone=2 * plan.llm_parameters * (prompt_tokens + alone_tokens) / _TERA,
        price_version=plan.prices.version,
        usd_overrun=usage.llm.overrun_tokens * plan.prices.llm.output / _MILLION,
    )


def worst_case_usd(plan: Plan, prompt_tokens: int, llm_tokens: int, answer_tokens: int) -> float:
    """Upper bound in USD for a request with `llm_tokens` of insight and `answer_tokens` of answer.

    At each stage the scorer finds the prompt of the stages before in its cache, and pays for cached tokens. The same holds
    for the small model if it prefills ahead.
    """
    llm_prompt = prompt_tokens if llm_tokens else 0
    prefilled = prompt_tokens + llm_tokens
    cached = len(plan.stages) * prefilled if llm_tokens else 0
    return (
        llm_prompt * plan.prices.llm.input
        + llm_tokens * plan.prices.llm.output
        + prefilled * (plan.prices.scorer.input + plan.prices.slm.input)
        + cached * plan.prices.scorer.cached_input
        + (cached * plan.prices.slm.cached_input if plan.reads_ahead else 0)
        + answer_tokens * plan.prices.slm.output
    ) / _MILLION


def _generated(usage: RoleUsage) -> int:
    return usage.output_tokens + usage.overrun_tokens + usage.discarded_tokens


def _computed(usage: RoleUsage) -> int:
    return usage.input_tokens + _generated(usage)
