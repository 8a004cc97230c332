"""Who answers a task with tools, at which cost, by each way to decide: prices are the bill's, and each prompt is priced
as read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from lab.calls.answers import CallTable
from lab.training.names import LLM_ALONE, ORACLE, OURS, SLM_ALONE
from lab.training.pricing import LLM, PricedCourse, course, priced, tokens
from lab.training.table import Bools, Floats
from tandem.method.evidence.call_evidence import CALL_NAMES
from tandem.method.evidence.call_scorer import Regression, TrainedCalls
from tandem.method.request.plan import Plan
from tandem.method.rule.stop_rule import NEVER
from tandem.method.tokens import TokenCounts

MEAN, SCHEMA, AGREEMENT, ROUTER, CALLS_ONLY = "mean-logprob", "schema", "agreement", "router", "tandem:calls-only"
LABELS = {
    LLM_ALONE: "large model alone",
    SLM_ALONE: "small model alone",
    SCHEMA: "accept a call that follows the schema",
    MEAN: "accept a call by its mean log-probability",
    AGREEMENT: "accept a call that all samples repeat",
    ROUTER: "router by the prompt",
    CALLS_ONLY: "`calls`, a text is never accepted",
    OURS: "`calls`",
    ORACLE: "accept what loses nothing (oracle)",
}


@dataclass(frozen=True)
class Scores:
    """Of each task, float64[n], NaN where there is none: the trained scorer's of what the small model wrote, and the
    router's.
    """

    ours: Floats
    router: Floats


@dataclass(frozen=True)
class CallPolicy:
    """Scores from which calls and texts are accepted; those of the alternatives, each chosen for the same objective."""

    calls: float
    texts: float
    calls_only: float
    mean: float
    router: float


def served_scores(scorer: TrainedCalls, router: Regression | None, table: CallTable, words: Floats) -> Scores:
    """For tasks that nothing was trained on. `words`: their bags of words."""

    def ours(row: int) -> float:
        by = scorer.calls if table.has_calls[row] else scorer.texts if table.is_text[row] else None
        return by.probability(dict(zip(CALL_NAMES, table.evidence[row].tolist(), strict=True))) if by else np.nan

    def routed(row: int) -> float:
        return router.probability(dict(zip(router.names, words[row].tolist(), strict=True))) if router else np.nan

    rows = range(len(table))
    return Scores(np.array([ours(row) for row in rows]), np.array([routed(row) for row in rows]))


def certainty(table: CallTable) -> Floats:
    """As the scorer that needs no training gives it."""
    found: Floats = np.where(table.has_calls, np.exp(table.column("mean")), np.nan)
    return found


def reach(scores: Floats, thresholds: Floats | float) -> Bools:
    """A threshold of 1 is never reached, nor any by what has no score."""
    thresholds = np.broadcast_to(thresholds, scores.shape)
    found: Bools = (thresholds < NEVER) & (np.nan_to_num(scores, nan=-1.0) >= thresholds)
    return found


def llm_alone(table: CallTable, plan: Plan) -> PricedCourse:
    return _settled(table, plan, np.zeros(len(table), bool), TokenCounts())


def cascade(table: CallTable, plan: Plan, accepts: Bools, more: TokenCounts | None = None) -> PricedCourse:
    """The small model answers, and the large one what is not accepted. `more`: what the small model read and wrote
    beside its answer.
    """
    return _settled(table, plan, accepts, tokens(table.slm.prompt, table.slm.tokens) + (more or TokenCounts()))


def route(table: CallTable, plan: Plan, to_small: Bools) -> PricedCourse:
    """One of the two models is asked."""
    slm = tokens(np.where(to_small, table.slm.prompt, 0), np.where(to_small, table.slm.tokens, 0))
    return _settled(table, plan, to_small, slm)


def _settled(table: CallTable, plan: Plan, accepts: Bools, slm: TokenCounts) -> PricedCourse:
    llm = tokens(np.where(accepts, 0, table.llm.prompt), np.where(accepts, 0, table.llm.tokens))
    right = np.where(accepts, table.slm.right, table.llm.right)
    truncated = ~np.where(accepts, table.slm.ended, table.llm.ended)
    return priced(plan, course(right, truncated, np.where(accepts, 0, LLM), llm=llm, slm=slm))


def run_methods(table: CallTable, plan: Plan, scores: Scores, policy: CallPolicy) -> dict[str, PricedCourse]:
    """By name, in the order of a report. A policy that accepts nothing does not ask the small model."""

    def by(found: Floats, thresholds: Floats | float) -> PricedCourse:
        if np.min(thresholds) >= NEVER:
            return llm_alone(table, plan)
        return cascade(table, plan, reach(found, thresholds))

    of_calls = np.where(table.has_calls, scores.ours, np.nan)
    return {
        LLM_ALONE: llm_alone(table, plan),
        SLM_ALONE: cascade(table, plan, np.ones(len(table), bool)),
        SCHEMA: cascade(table, plan, table.has_calls & table.valid),
        MEAN: by(certainty(table), policy.mean),
        AGREEMENT: cascade(table, plan, table.has_calls & (table.agree == 1), _samples(table)),
        ROUTER: route(table, plan, reach(scores.router, policy.router)),
        CALLS_ONLY: by(of_calls, policy.calls_only),
        OURS: by(scores.ours, np.where(table.has_calls, policy.calls, policy.texts)),
        ORACLE: cascade(table, plan, table.nothing_lost() & table.slm.ended),
    }


def _samples(table: CallTable) -> TokenCounts:
    """They share the prompt's cache."""
    cached = np.where(table.sample_tokens > 0, table.slm.prompt * table.num_samples, 0.0)
    return TokenCounts(cached=cast(Any, cached), completion=cast(Any, table.sample_tokens))
