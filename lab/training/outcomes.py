"""Simulation of every method on collected runs: correctness, tokens, cost. One PricedCourse per method.

Costs come from the bill (tandem.method.cost.cost), stops from the stop rule (tandem.method.rule.stop_rule): the
functions of serving, called with arrays. Each stop is charged OVERRUN tokens, which the large model generates after the
decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, cast

import numpy as np

from lab.training.pricing import LLM, Course, PricedCourse, course, everywhere, priced, tokens
from lab.training.rule import Path, Rule, follow, reached, stop_rule
from lab.training.table import Bools, Floats, Table
from tandem.method.request.plan import Plan
from tandem.method.rule.stop_rule import is_sufficient


def llm_alone(table: Table, plan: Plan, concise: bool = False) -> PricedCourse:
    answers = table.concise if concise else table.llm
    llm = tokens(answers.prompt, answers.tokens)
    return priced(plan, course(answers.right, answers.truncated, everywhere(table, LLM), llm=llm))


def slm_alone(table: Table, plan: Plan) -> PricedCourse:
    """The small model without a scoring pass."""
    answers = table.slm
    slm = tokens(answers.prompt[:, 0], answers.tokens[:, 0])
    return priced(plan, course(answers.right[:, 0], answers.truncated[:, 0], everywhere(table, 0), slm=slm))


def fixed(table: Table, plan: Plan, stage: int) -> PricedCourse:
    """Every question stops at `stage`, unscored, or has the large model's answer if that ended before."""
    return priced(plan, follow(table, Path(reached(table, everywhere(table, stage)))))


def forced(table: Table, plan: Plan, stage: int) -> PricedCourse:
    """Budget forcing: the large model is cut off at `stage` and must answer at once."""
    exists = table.forced.exists[:, stage]
    generated = table.insight[:, stage] + table.forced.tokens[:, stage]
    llm = tokens(table.llm.prompt, np.where(exists, generated, table.llm.tokens))
    right = np.where(exists, table.forced.right[:, stage], table.llm.right)
    return priced(plan, course(right, np.zeros_like(right), everywhere(table, LLM), llm=llm))


def forced_where(table: Table, plan: Plan, ruled: Course) -> PricedCourse:
    """Budget forcing with a rule's evidence: where the rule would stop, the large model must answer. Its scoring passes
    are paid.
    """
    rows, is_llms = np.arange(len(ruled.stage)), ruled.stage == LLM
    stage = np.where(is_llms, 0, ruled.stage)
    exists = table.forced.exists[rows, stage] & ~is_llms
    wrote = np.maximum(cast(Any, ruled.llm.completion), table.insight[rows, stage]) + table.forced.tokens[rows, stage]
    llm = tokens(table.llm.prompt, np.where(exists, wrote, table.llm.tokens))
    right = np.where(exists, table.forced.right[rows, stage], table.llm.right)
    is_cut = np.where(exists, False, table.llm.truncated)
    return priced(plan, course(right, is_cut, everywhere(table, LLM), llm=llm, scorer=ruled.scorer))


def cascade(table: Table, plan: Plan, scores: Floats, threshold: float) -> PricedCourse:
    """FrugalGPT (Chen et al. 2023): the small model answers; below `threshold` the large model answers from scratch.

    Scoring the answer is free: its tokens are already in the small model's cache.
    """
    accepted = is_sufficient(cast(Any, scores), threshold)
    llm = tokens(np.where(accepted, 0, table.llm.prompt), np.where(accepted, 0, table.llm.tokens))
    slm = tokens(table.slm.prompt[:, 0], table.slm.tokens[:, 0])
    right = np.where(accepted, table.slm.right[:, 0], table.llm.right)
    truncated = np.where(accepted, table.slm.truncated[:, 0], table.llm.truncated)
    return priced(plan, course(right, truncated, np.where(accepted, 0, LLM), llm=llm, slm=slm))


def route(table: Table, plan: Plan, scores: Floats, threshold: float) -> PricedCourse:
    """Router: the question's words alone decide which of the two models answers. `scores` are stage 0's."""
    accepted = cast(Bools, is_sufficient(cast(Any, scores), threshold))
    return priced(plan, follow(table, Path(np.where(accepted, 0, LLM))))


def tandem(
    table: Table, plan: Plan, scores: Floats, thresholds: Sequence[float], llm_finishes: bool, needs_pass: bool = True
) -> PricedCourse:
    """The stop rule (lab.training.rule.Rule), without checks."""
    return priced(plan, stop_rule(table, plan, Rule(scores, thresholds, llm_finishes, needs_pass)))


def random_stops(table: Table, plan: Plan, shares: Sequence[float], seed: int) -> PricedCourse:
    """Random stops: stage k with probability `shares[k]`, the large model's own answer with the rest of 1."""
    draws = np.random.default_rng(seed).choice(len(shares) + 1, len(table.questions), p=[*shares, 1 - sum(shares)])
    stage = np.where(draws == len(shares), LLM, draws)
    return priced(plan, follow(table, Path(reached(table, stage))))


def oracle(table: Table, plan: Plan, llm_finishes: bool) -> PricedCourse:
    """Knows all answers: the cheapest stage with a right one, without scoring passes; if there is none, the
    cheapest.
    """
    options = [fixed(table, plan, k) for k in range(table.stages)]
    if llm_finishes:
        options.append(llm_alone(table, plan))
    price = np.stack([option.paper for option in options], axis=1)
    right = np.stack([option.right for option in options], axis=1)
    best = np.where(right, price, price + price.max() + 1.0).argmin(axis=1)
    rows = np.arange(len(best))
    return PricedCourse(
        *(np.stack([getattr(o, f.name) for o in options], axis=1)[rows, best] for f in fields(PricedCourse))
    )
