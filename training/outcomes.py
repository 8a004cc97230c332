"""What each way of answering comes to on collected runs: right or wrong, tokens, cost. One Outcome for each method.

Costs are those of the bill (tandem.method.cost), stops those of the stop rule (tandem.method.stop_rule): the same functions as
in serving, given arrays. A stop is charged `OVERRUN` tokens that the large model wrote beyond it.
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
from training.table import Bools, Floats, Table

LLM = -1  # the "stage" of an answer that the large model finished
OVERRUN = 3.0  # tokens after a stop: its decision takes some decode steps (bench/results, stop on the real pair)

Stages = NDArray[np.intp]


@dataclass(frozen=True)
class Outcome:
    """Arrays over the questions. `stage` is where the answer came from, `LLM` for the large model's own."""

    right: Bools
    stage: Stages
    llm_tokens: Floats
    slm_tokens: Floats
    overrun_tokens: Floats
    truncated: Bools
    paper: Floats
    full: Floats
    usd: Floats

    def take(self, rows: NDArray[np.intp] | Bools) -> Outcome:
        return Outcome(*(getattr(self, field.name)[rows] for field in fields(self)))


def llm_alone(table: Table, plan: Plan, concise: bool = False) -> Outcome:
    answers = table.concise if concise else table.llm
    llm = _used(answers.prompt, answers.tokens)
    return _outcome(plan, answers.right, _full(table, LLM), answers.truncated, llm=llm)


def slm_alone(table: Table, plan: Plan) -> Outcome:
    """The small model without a scoring pass."""
    answers = table.slm
    slm = _used(answers.prompt[:, 0], answers.tokens[:, 0])
    return _outcome(plan, answers.right[:, 0], _full(table, 0), answers.truncated[:, 0], slm=slm)


def fixed(table: Table, plan: Plan, stage: int) -> Outcome:
    """Every question stops at `stage`; nothing is scored. A large model that ended before has answered."""
    return _stopped(table, plan, _reached(table, _full(table, stage)))


def forced(table: Table, plan: Plan, stage: int) -> Outcome:
    """Budget forcing: the large model is cut off at `stage` and answers at once."""
    there = table.forced.exists[:, stage]
    written = table.insight[:, stage] + table.forced.tokens[:, stage]
    llm = _used(table.llm.prompt, np.where(there, written, table.llm.tokens))
    right = np.where(there, table.forced.right[:, stage], table.llm.right)
    return _outcome(plan, right, _full(table, LLM), np.zeros_like(right), llm=llm)


def cascade(table: Table, plan: Plan, scores: Floats, threshold: float) -> Outcome:
    """FrugalGPT: the small model answers, its answer is scored, and below `threshold` the large one answers afresh."""
    kept = is_sufficient(cast(Any, scores), threshold)
    llm = _used(np.where(kept, 0, table.llm.prompt), np.where(kept, 0, table.llm.tokens))
    slm = _used(table.slm.prompt[:, 0], table.slm.tokens[:, 0])
    right = np.where(kept, table.slm.right[:, 0], table.llm.right)
    truncated = np.where(kept, table.slm.truncated[:, 0], table.llm.truncated)
    # Its answer was just written, so only the scorer's head is new; what it reads is out of the cache.
    return _outcome(plan, right, np.where(kept, 0, LLM), truncated, llm=llm, slm=slm)


def route(table: Table, plan: Plan, scores: Floats, threshold: float) -> Outcome:
    """A router: the question's words alone decide which of the two models answers. `scores` are stage 0's."""
    kept = cast(Bools, is_sufficient(cast(Any, scores), threshold))
    return _stopped(table, plan, np.where(kept, 0, LLM))


def tandem(
    table: Table, plan: Plan, scores: Floats, thresholds: Sequence[float], llm_finishes: bool, needs_pass: bool = True
) -> Outcome:
    """The stop rule: the first stage whose score, float64[n, K + 1], reaches its threshold.

    No stage passes: the one with the highest score is used, or with `llm_finishes` the large model's own answer, which may
    be cut off at its cap. A scorer that does not `needs_pass` reads nothing.
    """
    columns = scores.shape[1]
    scored = table.slm.exists & [is_scored(t, llm_finishes) for t in thresholds]
    passed = np.stack([is_sufficient(cast(Any, scores[:, k]), thresholds[k]) for k in range(columns)], axis=1) & scored
    stops = np.where(passed.any(axis=1), passed.argmax(axis=1), columns)
    last_there = table.slm.exists.sum(axis=1) - 1
    has_ended = last_there < columns - 1  # the large model ended before the last stage
    best = np.where(table.slm.exists, scores, -1.0).argmax(axis=1)
    undecided = stops == columns
    if llm_finishes:
        stage = np.where(undecided, LLM, stops)
        wrote_all = undecided
    else:
        stage = np.where(undecided, np.where(has_ended, LLM, best), stops)
        wrote_all = undecided & has_ended
    wrote_to = np.minimum(stops, last_there)
    ran = scored & (np.arange(columns)[None] <= wrote_to[:, None])
    ahead = None
    if plan.prefill_ahead:
        ahead = ran & ~passed & [is_prefilled(k, thresholds, llm_finishes) for k in range(columns)]
    return _stopped(table, plan, stage, ran if needs_pass else None, wrote_to, wrote_all, ahead)


def random_stops(table: Table, plan: Plan, shares: Sequence[float], seed: int) -> Outcome:
    """Stops drawn at random: stage k with probability `shares[k]`, the large model's own end with what is left of 1."""
    draws = np.random.default_rng(seed).choice(len(shares) + 1, len(table.questions), p=[*shares, 1 - sum(shares)])
    stage = np.where(draws == len(shares), LLM, draws)
    return _stopped(table, plan, _reached(table, stage))


def oracle(table: Table, plan: Plan, llm_finishes: bool) -> Outcome:
    """Knows every answer: the cheapest way to a right one, without a scoring pass; where there is none, the cheapest."""
    ways = [fixed(table, plan, k) for k in range(table.stages)]
    if llm_finishes:
        ways.append(llm_alone(table, plan))
    price = np.stack([way.paper for way in ways], axis=1)
    right = np.stack([way.right for way in ways], axis=1)
    best = np.where(right, price, price + price.max() + 1.0).argmin(axis=1)
    rows = np.arange(len(best))
    return Outcome(*(np.stack([getattr(w, f.name) for w in ways], axis=1)[rows, best] for f in fields(Outcome)))


def _stopped(
    table: Table,
    plan: Plan,
    stage: Stages,
    scored: Bools | None = None,
    wrote_to: Stages | None = None,
    wrote_all: Bools | None = None,
    ahead: Bools | None = None,
) -> Outcome:
    """Answers out of `stage` [n], after the scoring passes `scored` [n, K + 1] (none if not given). The large model wrote up
    to stage `wrote_to` (`stage` if not given), or all it had. The small one has read the stages `ahead` [n, K + 1] before.
    """
    rows = np.arange(len(stage))
    by_llm = stage == LLM
    at = np.where(by_llm, 0, stage)
    last = at if wrote_to is None else wrote_to
    everything = by_llm | (np.zeros_like(by_llm) if wrote_all is None else wrote_all)
    overrun = np.where(everything | (last == 0), 0.0, np.minimum(OVERRUN, table.llm.tokens - table.insight[rows, last]))
    llm_output = np.where(everything, table.llm.tokens, table.insight[rows, last])
    touched = everything | (last > 0)
    llm = _used(np.where(touched, table.llm.prompt, 0), llm_output, overrun)
    read_ahead, read_again = _passes(table, ahead)
    prompt = np.where(by_llm, 0, table.slm.prompt[rows, at])
    known = np.minimum(prompt, read_ahead)
    slm = TokenCounts(
        prompt=cast(Any, read_ahead + prompt - known),
        cached=cast(Any, read_again + known),
        completion=cast(Any, np.where(by_llm, 0, table.slm.tokens[rows, at])),
    )
    computed, cached = _passes(table, scored)
    scorer = TokenCounts(prompt=cast(Any, computed), cached=cast(Any, cached))
    right = np.where(by_llm, table.llm.right, table.slm.right[rows, at])
    truncated = np.where(by_llm, table.llm.truncated, table.slm.truncated[rows, at])
    return _outcome(plan, right, stage, truncated, llm=llm, slm=slm, scorer=scorer)


def _passes(table: Table, stages: Bools | None) -> tuple[Floats, Floats]:
    """Tokens (computed, cached) of reading the prompts of `stages` [n, K + 1], each on from the one before."""
    read = np.where(stages, table.slm.prompt, 0) if stages is not None else np.zeros_like(table.slm.prompt)
    return read.max(axis=1), read.sum(axis=1) - read.max(axis=1)


def _reached(table: Table, stage: Stages) -> Stages:
    """`stage` where the large model got that far, else its own answer."""
    rows = np.arange(len(stage))
    return np.where((stage == LLM) | table.slm.exists[rows, np.maximum(stage, 0)], stage, LLM)


def _full(table: Table, stage: int) -> Stages:
    return np.full(len(table.questions), stage, np.intp)


def _used(prompt: Floats, output: Floats, overrun: Floats | float = 0.0) -> TokenCounts:
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
    n = len(right)
    llm_tokens, slm_tokens, overrun = (
        np.broadcast_to(np.asarray(x, np.float64), (n,)).copy()
        for x in (usage.llm.completion, usage.slm.completion, usage.llm.overrun)
    )
    prices = plan.prices
    usd = prices.llm.usd(usage.llm) + prices.slm.usd(usage.slm) + prices.scorer.usd(usage.scorer)
    slm_parameters = cast(Any, np.where(slm_tokens > 0, plan.slm_parameters, 0.0))
    paper = cost.tflops_paper(plan.llm_parameters, cast(Any, llm_tokens), slm_parameters, cast(Any, slm_tokens))
    return Outcome(
        right=right.astype(bool),
        stage=stage,
        llm_tokens=llm_tokens,
        slm_tokens=slm_tokens,
        overrun_tokens=overrun,
        truncated=truncated.astype(bool),
        paper=np.broadcast_to(np.asarray(paper, np.float64), (n,)),
        full=np.broadcast_to(np.asarray(cost.tflops_full(plan, usage), np.float64), (n,)),
        usd=np.broadcast_to(np.asarray(usd, np.float64), (n,)),
    )
