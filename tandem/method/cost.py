"""What a request cost: USD from the profile's prices, TFLOPs by the paper's formula and in full. Pure."""

from __future__ import annotations

from tandem.method.prices import RolePrices
from tandem.method.shared import Cost, Plan, RoleUsage, Usage, UsdByRole

_MILLION, _TERA = 1e6, 1e12


def tflops_paper(llm_parameters: float, llm_tokens: float, slm_parameters: float, slm_tokens: float) -> float:
    """METHOD 2: 2 [N_llm L_llm + N_slm (L_llm + L_slm)] / 1e12, L in generated tokens.

    The small model is charged once for reading the insight. For a model alone set the other's parameters to 0.
    """
    return 2 * (llm_parameters * llm_tokens + slm_parameters * (llm_tokens + slm_tokens)) / _TERA


def tflops_full(plan: Plan, usage: Usage) -> float:
    """Everything that was computed: prefill, scoring passes, overrun and discarded tokens; cached tokens cost nothing."""
    slm = _computed(usage.slm) + _computed(usage.scorer)
    return 2 * (plan.llm_parameters * _computed(usage.llm) + plan.slm_parameters * slm) / _TERA


def usd(usage: RoleUsage, prices: RolePrices) -> float:
    """Every token made is paid, whatever became of it."""
    return prices.usd(usage.input_tokens, usage.cached_input_tokens, _generated(usage))


def cost(plan: Plan, usage: Usage, prompt_tokens: int, llm_finished: bool = False) -> Cost:
    """The bill. `prompt_tokens` is the plain question's prompt, which the large model alone would have read.

    The `llm_alone` figures are exact where the large model has answered. Elsewhere they are estimates: the profile's
    calibration says how many tokens that model needs by itself.
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
    """The most that a request costs whose large model writes `llm_tokens` and whose small one `answer_tokens`.

    Each stage after the first reads again, out of the scorer's cache, what the ones before it have read; so does the
    small model that reads ahead.
    """
    reads_llm = prompt_tokens if llm_tokens else 0
    read = prompt_tokens + llm_tokens
    read_again = len(plan.stages) * read if llm_tokens else 0
    return (
        reads_llm * plan.prices.llm.input
        + llm_tokens * plan.prices.llm.output
        + read * (plan.prices.scorer.input + plan.prices.slm.input)
        + read_again * plan.prices.scorer.cached_input
        + (read_again * plan.prices.slm.cached_input if plan.reads_ahead else 0)
        + answer_tokens * plan.prices.slm.output
    ) / _MILLION


def _generated(usage: RoleUsage) -> int:
    return usage.output_tokens + usage.overrun_tokens + usage.discarded_tokens


def _computed(usage: RoleUsage) -> int:
    return usage.input_tokens + _generated(usage)
