"""The stop rule on collected runs: where each question stops, and what was generated and read until then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import compress
from typing import Any, cast

import numpy as np

from lab.training.pricing import LLM, Course, Stages, course, tokens
from lab.training.table import Bools, Floats, Table
from tandem.method.request.plan import Plan
from tandem.method.request.result import StopReason
from tandem.method.request.tasks import StageScore
from tandem.method.rule.stop_rule import decide, fall_back, is_prefilled, is_scored
from tandem.method.tokens import TokenCounts

OVERRUN = 3.0  # tokens; the decision takes a few decode steps (measured: lab/bench/results, stop on the real pair)


@dataclass(frozen=True)
class Rule:
    """`scores` float64[n, K + 1] against `thresholds` of stage 0, 1, ..., K.

    If no stage reaches its threshold, the stage with the highest score is used, or with `llm_finishes` the large
    model's own answer, which may be truncated at its cap. Without `needs_pass` scoring costs nothing, without
    `scores_code` no special task (Table) is scored.
    """

    scores: Floats
    thresholds: Sequence[float]
    llm_finishes: bool
    needs_pass: bool = True
    scores_code: bool = True


def stop_rule(
    table: Table, plan: Plan, rule: Rule, skipped: Bools | None = None, answered: Bools | None = None
) -> Course:
    """Stop where the method does.

    `skipped` bool[n, K + 1] stages are not scored; the small model's answers after those that are `answered` exist
    already.
    """
    scores, thresholds = rule.scores, rule.thresholds
    exists, columns = table.slm.exists, rule.scores.shape[1]
    scored = exists & [is_scored(t, rule.llm_finishes) for t in thresholds]
    if not rule.scores_code:
        scored &= ~table.is_special[:, None]
    if skipped is not None:
        scored &= ~skipped
    seen = [list(compress(*row)) for row in zip(_stage_scores(scores), scored.tolist(), strict=True)]
    decided = [next(filter(None, (decide(s, thresholds[s.stage]) for s in row)), None) for row in seen]
    is_undecided = np.array([stop is None for stop in decided], bool)
    last = exists.sum(axis=1) - 1
    # Where no stage suffices, its own answer is used of a large model that may finish, or that ended before the last
    # stage.
    generated_all = is_undecided & (rule.llm_finishes | (last < columns - 1))
    ended = [stop or fall_back(row, thresholds, StopReason.BEST_STAGE) for stop, row in zip(decided, seen, strict=True)]
    stops = np.array([stop.stage for stop in ended], np.intp)
    stage = np.where(generated_all, LLM, stops)
    generated_to = np.where(is_undecided, last, stops)
    ran = scored & (np.arange(columns)[None] <= generated_to[:, None])
    ahead = None
    if plan.prefill_ahead:
        goes_on = is_undecided[:, None] | (np.arange(columns)[None] < stops[:, None])
        ahead = ran & goes_on & [is_prefilled(k, thresholds, rule.llm_finishes) for k in range(columns)]
    return follow(table, Path(stage, ran if rule.needs_pass else None, ahead, generated_to, generated_all, answered))


def _stage_scores(scores: Floats) -> Sequence[Sequence[StageScore]]:
    """By question and stage. A search asks for the same scores thousands of times."""
    return _made(scores.tobytes(), scores.shape)


@lru_cache(maxsize=16)
def _made(scores: bytes, shape: tuple[int, int]) -> list[list[StageScore]]:
    rows = np.frombuffer(scores).reshape(shape).tolist()
    return [[StageScore(stage, score=score) for stage, score in enumerate(row)] for row in rows]


@dataclass(frozen=True)
class Path:
    """What happened until the answer of each question. Masks are bool[n, K + 1], None for no stage.

    The answer comes from `stage` [n], after scoring passes over `scored` and prefills of `ahead`. The large model
    generated up to the end of stage `generated_to` [n] (`stage` if None), or its whole answer where `generated_all`
    [n]. The small model's answers after `answered` stages were paid for before. `is_asked`: the large model was asked
    for just so many tokens, so none overrun.
    """

    stage: Stages
    scored: Bools | None = None
    ahead: Bools | None = None
    generated_to: Stages | None = None
    generated_all: Bools | None = None
    answered: Bools | None = None
    is_asked: bool = False


def follow(table: Table, path: Path) -> Course:
    rows, is_llms = np.arange(len(path.stage)), path.stage == LLM
    stage = np.where(is_llms, 0, path.stage)
    prefilled, prefilled_cached = _passes(table, path.ahead)
    is_written = is_llms if path.answered is None else is_llms | path.answered[rows, stage]
    prompt = np.where(is_written, 0, table.slm.prompt[rows, stage])
    cached = np.minimum(prompt, prefilled)
    slm = TokenCounts(
        prompt=cast(Any, prefilled + prompt - cached),
        cached=cast(Any, prefilled_cached + cached),
        completion=cast(Any, np.where(is_written, 0, table.slm.tokens[rows, stage])),
    )
    computed, scorer_cached = _passes(table, path.scored)
    scorer = TokenCounts(prompt=cast(Any, computed), cached=cast(Any, scorer_cached))
    right = np.where(is_llms, table.llm.right, table.slm.right[rows, stage])
    truncated = np.where(is_llms, table.llm.truncated, table.slm.truncated[rows, stage])
    llm = _llm_counts(table, path)
    read = np.where(is_llms, 0.0, cast(Any, llm.completion))
    return course(right, truncated, path.stage, llm=llm, slm=slm, scorer=scorer, read=read)


def reached(table: Table, stage: Stages) -> Stages:
    """`stage` where the large model got that far, else its own answer."""
    rows = np.arange(len(stage))
    return np.where((stage == LLM) | table.slm.exists[rows, np.maximum(stage, 0)], stage, LLM)


def _llm_counts(table: Table, path: Path) -> TokenCounts:
    rows, is_llms = np.arange(len(path.stage)), path.stage == LLM
    last = np.where(is_llms, 0, path.stage) if path.generated_to is None else path.generated_to
    whole = is_llms if path.generated_all is None else is_llms | path.generated_all
    generated = table.insight[rows, last]
    overrun = np.where(whole | (last == 0) | path.is_asked, 0.0, np.minimum(OVERRUN, table.llm.tokens - generated))
    prompt = np.where(whole | (last > 0), table.llm.prompt, 0)
    return tokens(prompt, np.where(whole, table.llm.tokens, generated), overrun)


def _passes(table: Table, stages: Bools | None) -> tuple[Floats, Floats]:
    """Tokens (computed, cached) of prefilling the prompts of `stages` [n, K + 1]; each extends the one before."""
    prompts = np.where(stages, table.slm.prompt, 0) if stages is not None else np.zeros_like(table.slm.prompt)
    return prompts.max(axis=1), prompts.sum(axis=1) - prompts.max(axis=1)
