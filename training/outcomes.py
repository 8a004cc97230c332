"""Simulation of every method on collected runs: correctness, tokens, cost. One Outcome per method.

Costs come from the bill (tandem.method.cost), stops from the stop rule (tandem.method.stop_rule): the functions of serving,
called with arrays. Each stop is charged OVERRUN tokens, which the large model generates after the decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tandem.method import cost
from tandem.method.plan import Plan
from tandem.method.result import Usage
from tandem.method.stop_rule import is_prefilled, is_scored, is_sufficient
from tandem.method.tokens import TokenCounts
from training.table import Bools, Floats, Rows, Table

LLM = -1  # the "stage" of an answer that the large model finished
OVERRUN = 3.0  # tokens; the decision takes a few decode steps (measured: bench/results, stop on the real pair)

Stages = NDArray[np.intp]


@dataclass(frozen=True)
class Outcome:
    """Arrays over the questions. `stage` is the stage of the answer, LLM for the large model's own.

    `paper` and `full` are TFLOPs (docs/method.md, Cost).
    """

    right: Bools
    stage: Stages
    llm_tokens: Floats
    slm_tokens: Floats
    overrun_tokens: Floats
    truncated: Bools
    paper: Floats
    full: Floats
    usd: Floats

    def take(self, rows: Rows) -> Outcome:
        return Outcome(*(getattr(self, field.name)[rows] for field in fields(self)))


def llm_alone(table: Table, plan: Plan, concise: bool = False) -> Outcome:
    answers = table.concise if concise else table.llm
    llm = _usage(answers.prompt, answers.tokens)
    return _outcome(plan, answers.right, _constant(table, LLM), answers.truncated, llm=llm)


def slm_alone(table: Table, plan: Plan) -> Outcome:
    """The small model without a scoring pass."""
    answers = table.slm
    slm = _usage(answers.prompt[:, 0], answers.tokens[:, 0])
    return _outcome(plan, answers.right[:, 0], _constant(table, 0), answers.truncated[:, 0], slm=slm)


def fixed(table: Table, plan: Plan, stage: int) -> Outcome:
    """Every question stops at `stage`, unscored, or has the large model's answer if that ended before."""
    return _stopped(table, plan, _Path(_reached(table, _constant(table, stage))))


def forced(table: Table, plan: Plan, stage: int) -> Outcome:
    """Budget forcing: the large model is cut off at `stage` and must answer at once."""
    exists = table.forced.exists[:, stage]
    generated = table.insight[:, stage] + table.forced.tokens[:, stage]
    llm = _usage(table.llm.prompt, np.where(exists, generated, table.llm.tokens))
    right = np.where(exists, table.forced.right[:, stage], table.llm.right)
    return _outcome(plan, right, _constant(table, LLM), np.zeros_like(right), llm=llm)


def cascade(table: Table, plan: Plan, scores: Floats, threshold: float) -> Outcome:
    """FrugalGPT (Chen et al. 2023): the small model answers; below `threshold` the large model answers from scratch.

    Scoring the answer is free: its tokens are already in the small model's cache.
    """
    accepted = is_sufficient(cast(Any, scores), threshold)
    llm = _usage(np.where(accepted, 0, table.llm.prompt), np.where(accepted, 0, table.llm.tokens))
    slm = _usage(table.slm.prompt[:, 0], table.slm.tokens[:, 0])
    right = np.where(accepted, table.slm.right[:, 0], table.llm.right)
    truncated = np.where(accepted, table.slm.truncated[:, 0], table.llm.truncated)
    return _outcome(plan, right, np.where(accepted, 0, LLM), truncated, llm=llm, slm=slm)


def route(table: Table, plan: Plan, scores: Floats, threshold: float) -> Outcome:
    """Router: the question's words alone decide which of the two models answers. `scores` are stage 0's."""
    accepted = cast(Bools, is_sufficient(cast(Any, scores), threshold))
    return _stopped(table, plan, _Path(np.where(accepted, 0, LLM)))


def tandem(
    table: Table, plan: Plan, scores: Floats, thresholds: Sequence[float], llm_finishes: bool, needs_pass: bool = True
) -> Outcome:
    """The stop rule: stop at the first stage whose score, float64[n, K + 1], reaches its threshold.

    If none does, the stage with the highest score is used, or with `llm_finishes` the large model's own answer, which may
    be truncated at its cap. Without `needs_pass` scoring costs nothing.
    """
    exists, columns = table.slm.exists, scores.shape[1]
    scored = exists & [is_scored(t, llm_finishes) for t in thresholds]
    passed = np.stack([is_sufficient(cast(Any, scores[:, k]), thresholds[k]) for k in range(columns)], axis=1) & scored
    stops = np.where(passed.any(axis=1), passed.argmax(axis=1), columns)
    last = exists.sum(axis=1) - 1
    is_undecided = stops == columns
    if llm_finishes:
        generated_all = is_undecided
        stage = np.where(is_undecided, LLM, stops)
    else:
        generated_all = is_undecided & (last < columns - 1)  # the large model ended before the last stage
        best = np.where(exists, scores, -1.0).argmax(axis=1)
        stage = np.where(is_undecided, np.where(generated_all, LLM, best), stops)
    generated_to = np.minimum(stops, last)
    ran = scored & (np.arange(columns)[None] <= generated_to[:, None])
    ahead = None
    if plan.prefill_ahead:
        ahead = ran & ~passed & [is_prefilled(k, thresholds, llm_finishes) for k in range(columns)]
    return _stopped(table, plan, _Path(stage, ran if needs_pass else None, ahead, generated_to, generated_all))


def random_stops(table: Table, plan: Plan, shares: Sequence[float], seed: int) -> Outcome:
    """Random stops: stage k with probability `shares[k]`, the large model's own answer with the rest of 1."""
    draws = np.random.default_rng(seed).choice(len(shares) + 1, len(table.questions), p=[*shares, 1 - sum(shares)])
    stage = np.where(draws == len(shares), LLM, draws)
    return _stopped(table, plan, _Path(_reached(table, stage)))


def oracle(table: Table, plan: Plan, llm_finishes: bool) -> Outcome:
    """Knows all answers: the cheapest stage with a right one, without scoring passes; if there is none, the cheapest."""
    options = [fixed(table, plan, k) for k in range(table.stages)]
    if llm_finishes:
        options.append(llm_alone(table, plan))
    price = np.stack([option.paper for option in options], axis=1)
    right = np.stack([option.right for option in options], axis=1)
    best = np.where(right, price, price + price.max() + 1.0).argmin(axis=1)
    rows = np.arange(len(best))
    return Outcome(*(np.stack([getattr(o, f.name) for o in options], axis=1)[rows, best] for f in fields(Outcome)))


@dataclass(frozen=True)
class _Path:
    """What happened until the answer of each question. Masks are bool[n, K + 1], None for no stage.

    The answer comes from `stage` [n], after scoring passes over `scored` and prefills of `ahead`. The large model
    generated up to the end of stage `generated_to` [n] (`stage` if None), or its whole answer where `generated_all` [n].
    """

    stage: Stages
    scored: Bools | None = None
    ahead: Bools | None = None
    generated_to: Stages | None = None
    generated_all: Bools | None = None


def _stopped(table: Table, plan: Plan, path: _Path) -> Outcome:
    rows, is_llms = np.arange(len(path.stage)), path.stage == LLM
    stage = np.where(is_llms, 0, path.stage)
    prefilled, prefilled_cached = _passes(table, path.ahead)
    prompt = np.where(is_llms, 0, table.slm.prompt[rows, stage])
    cached = np.minimum(prompt, prefilled)
    slm = TokenCounts(
        prompt=cast(Any, prefilled + prompt - cached),
        cached=cast(Any, prefilled_cached + cached),
        completion=cast(Any, np.where(is_llms, 0, table.slm.tokens[rows, stage])),
    )
    computed, scorer_cached = _passes(table, path.scored)
    scorer = TokenCounts(prompt=cast(Any, computed), cached=cast(Any, scorer_cached))
    right = np.where(is_llms, table.llm.right, table.slm.right[rows, stage])
    truncated = np.where(is_llms, table.llm.truncated, table.slm.truncated[rows, stage])
    return _outcome(plan, right, path.stage, truncated, llm=_llm_usage(table, path), slm=slm, scorer=scorer)


def _llm_usage(table: Table, path: _Path) -> TokenCounts:
    rows, is_llms = np.arange(len(path.stage)), path.stage == LLM
    last = np.where(is_llms, 0, path.stage) if path.generated_to is None else path.generated_to
    whole = is_llms if path.generated_all is None else is_llms | path.generated_all
    generated = table.insight[rows, last]
    overrun = np.where(whole | (last == 0), 0.0, np.minimum(OVERRUN, table.llm.tokens - generated))
    prompt = np.where(whole | (last > 0), table.llm.prompt, 0)
    return _usage(prompt, np.where(whole, table.llm.tokens, generated), overrun)


def _passes(table: Table, stages: Bools | None) -> tuple[Floats, Floats]:
    """Tokens (computed, cached) of prefilling the prompts of `stages` [n, K + 1]; each extends the one before."""
    prompts = np.where(stages, table.slm.prompt, 0) if stages is not None else np.zeros_like(table.slm.prompt)
    return prompts.max(axis=1), prompts.sum(axis=1) - prompts.max(axis=1)


def _reached(table: Table, stage: Stages) -> Stages:
    """`stage` where the large model got that far, else its own answer."""
    rows = np.arange(len(stage))
    return np.where((stage == LLM) | table.slm.exists[rows, np.maximum(stage, 0)], stage, LLM)


def _constant(table: Table, stage: int) -> Stages:
    return np.full(len(table.questions), stage, np.intp)


def _usage(prompt: Floats, output: Floats, overrun: Floats | float = 0.0) -> TokenCounts:
    return TokenCounts(prompt=cast(Any, prompt), completion=cast(Any, output), overrun=cast(Any, overrun))


def _outcome(
    plan: Plan,
    right: Bools,
    stage: Stages,
    truncated: Bools,
    llm: TokenCounts | None = None,
    slm: TokenCounts | None = None,
    scorer: TokenCounts | None = None,
) -> Outcome:
    usage = Usage(llm or TokenCounts(), slm or TokenCounts(), scorer or TokenCounts())
    n, prices = len(right), plan.prices
    llm_tokens = _per_question(usage.llm.completion, n)
    slm_tokens = _per_question(usage.slm.completion, n)
    usd = prices.llm.usd(usage.llm) + prices.slm.usd(usage.slm) + prices.scorer.usd(usage.scorer)
    slm_parameters = cast(Any, np.where(slm_tokens > 0, plan.slm_parameters, 0.0))
    paper = cost.tflops_paper(plan.llm_parameters, cast(Any, llm_tokens), slm_parameters, cast(Any, slm_tokens))
    return Outcome(
        right=right.astype(bool),
        stage=stage,
        llm_tokens=llm_tokens,
        slm_tokens=slm_tokens,
        overrun_tokens=_per_question(usage.llm.overrun, n),
        truncated=truncated.astype(bool),
        paper=_per_question(paper, n),
        full=_per_question(cost.tflops_full(plan, usage), n),
        usd=_per_question(usd, n),
    )


def _per_question(value: object, n: int) -> Floats:
    """float64[n], also from a scalar."""
    return np.broadcast_to(np.asarray(value, np.float64), (n,)).copy()
