"""The small models' checked tries on collected runs: which pass, which is best, and what they cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lab.training.pricing import Stages, counts_where, role_seconds, tokens
from lab.training.table import Bools, Floats, Table
from tandem.method.evidence.checks import TrialPlan
from tandem.method.request.plan import Plan
from tandem.method.tokens import TokenCounts

MOST_REPAIRS = 1  # so many are collected


@dataclass(frozen=True)
class Attempt:
    """One answer of a small model to every question; `failed` and `passed` are False where its check could not tell."""

    stage: int
    right: Bools
    is_cut: Bools
    passed: Bools
    failed: Bools
    score: Floats
    counts: TokenCounts
    check_seconds: Floats
    role: str = "slm"


@dataclass
class Trials:
    """The tries so far. `spent` by model and `check_seconds` are of all, the `best_` arrays of the one whose check held
    most.

    `failed` and `answered` bool[n, K + 1]: stages with an answer that failed, and with one that was not cut. `llm_runs`
    bool[n]: the large model has been started; `llm_tokens` is what it has written by the end of the last try, while
    which it writes on for `overlap_seconds` (0 without rates). `first_right` bool[n] is of the first answer to the bare
    question that was not cut; `newest` str[n]: whose answer that failed no check is the newest; empty: nobody's.
    """

    passed: Bools
    failed: Bools
    answered: Bools
    spent: dict[str, TokenCounts]
    check_seconds: Floats
    first_right: Bools
    newest: NDArray[np.object_]
    best_score: Floats
    best_right: Bools
    best_is_cut: Bools
    best_stage: Stages
    llm_runs: Bools
    llm_tokens: Floats
    overlap_seconds: Floats

    def add(self, attempt: Attempt, ran: Bools) -> None:
        """`ran`: the questions on which it was made."""
        self.spent[attempt.role] = self.spent[attempt.role] + counts_where(ran, attempt.counts)
        self.check_seconds = self.check_seconds + np.where(ran, attempt.check_seconds, 0.0)
        better = ran & (attempt.passed | (attempt.score > self.best_score))
        self.best_score = np.where(better, attempt.score, self.best_score)
        self.best_right = np.where(better, attempt.right, self.best_right)
        self.best_is_cut = np.where(better, attempt.is_cut, self.best_is_cut)
        self.best_stage = np.where(better, attempt.stage, self.best_stage)
        self.passed = self.passed | (ran & attempt.passed)
        self.failed[:, attempt.stage] |= ran & attempt.failed
        self.newest = np.where(ran & ~attempt.failed, attempt.role, self.newest)
        if attempt.stage == 0:
            is_first = ran & ~attempt.is_cut & ~self.answered[:, 0]
            self.first_right = np.where(is_first, attempt.right, self.first_right)
        self.answered[:, attempt.stage] |= ran & ~attempt.is_cut

    def let_llm_write(self, plan: Plan, table: Table, attempt: Attempt, ran: Bools, written: Floats) -> None:
        """The large model had `written` so many tokens when the try began, and goes on until it ends."""
        begin = np.maximum(self.llm_tokens, written)
        meanwhile, seconds = _written_meanwhile(plan, table, attempt, begin)
        self.llm_runs = self.llm_runs | ran
        self.llm_tokens = np.where(ran, begin + meanwhile, self.llm_tokens)
        self.overlap_seconds = self.overlap_seconds + np.where(ran, seconds, 0.0)


def no_trials(table: Table, roles: Iterable[str]) -> Trials:
    """`roles`: who may try, beside the first small model."""
    n, shape = len(table.questions), table.slm.right.shape
    return Trials(
        passed=np.zeros(n, bool),
        failed=np.zeros(shape, bool),
        answered=np.zeros(shape, bool),
        spent={role: tokens(np.zeros(n), np.zeros(n)) for role in ("slm", *roles)},
        check_seconds=np.zeros(n),
        first_right=np.zeros(n, bool),
        newest=np.full(n, "", object),
        best_score=np.full(n, -1.0),
        best_right=np.zeros(n, bool),
        best_is_cut=np.zeros(n, bool),
        best_stage=np.zeros(n, np.intp),
        llm_runs=np.zeros(n, bool),
        llm_tokens=np.zeros(n),
        overlap_seconds=np.zeros(n),
    )


def first_answer(table: Table, trial: TrialPlan, stage: int, role: str = "slm") -> Attempt:
    """The model's answer after `stage`, which fails where it is cut at the trial's cap."""
    answers = table.slm.column(stage) if role == "slm" else table.further[role]
    written = answers.tokens
    is_cut = (written > trial.max_tokens) if trial.max_tokens else np.zeros(len(written), bool)
    return Attempt(
        stage=stage,
        right=answers.right & ~is_cut,
        is_cut=is_cut | answers.truncated,
        passed=answers.passed & ~is_cut,
        failed=answers.failed | (answers.passed & is_cut),
        score=np.where(is_cut, 0.0, answers.score),
        counts=tokens(answers.prompt, np.where(is_cut, trial.max_tokens, written)),
        check_seconds=answers.check_seconds,
        role=role,
    )


def compared(table: Table, attempt: Attempt, newest: NDArray[np.object_]) -> Attempt:
    """Where programs must agree, one passes by agreement alone: with the `newest` of another model that has failed no
    check. Without one it is not decided.
    """
    found = replace(attempt, passed=attempt.passed & ~table.is_compared)
    for pair, each in table.agreements.items():
        if attempt.role not in pair:
            continue
        with_it = newest == pair[pair.index(attempt.role) - 1]
        has_verdict = with_it & (each.passed | each.failed)
        found = replace(
            found,
            passed=found.passed | (attempt.passed & with_it & each.passed),
            failed=found.failed | (with_it & each.failed),
            score=np.where(has_verdict, np.minimum(found.score, each.score), found.score),
            check_seconds=found.check_seconds + np.where(with_it, each.check_seconds, 0.0),
        )
    return found


def scoring_pass(table: Table) -> Attempt:
    """The scorer reads the bare question, and writes nothing."""
    n, read = len(table.questions), table.slm.prompt[:, 0]
    no, none = np.zeros(n, bool), np.zeros(n)
    return Attempt(0, no, no, no, no, none, tokens(read, none), none)


def repair(table: Table, trial: TrialPlan, first: Attempt) -> Attempt:
    """The second answer to the bare question. Where the first one was cut, the repair is taken to be cut and to fail as
    well.

    The first answer's prompt is computed anew: our engine keeps no prompt of a generation that has ended.
    """
    answers, cap = table.repair, trial.max_tokens
    was_cut = first.is_cut
    is_cut = was_cut | ((answers.tokens > cap) if cap else answers.truncated)
    read = np.where(was_cut, table.slm.prompt[:, 0] + first.counts.completion, answers.prompt)
    most = cap or np.inf
    return Attempt(
        stage=0,
        right=answers.right & ~is_cut,
        is_cut=is_cut,
        passed=answers.passed & ~is_cut,
        failed=answers.failed | is_cut,
        score=np.where(is_cut, 0.0, answers.score),
        counts=tokens(read, np.where(was_cut, first.counts.completion, np.minimum(answers.tokens, most))),
        check_seconds=np.where(was_cut, first.check_seconds, answers.check_seconds),
    )


def _written_meanwhile(plan: Plan, table: Table, attempt: Attempt, begin: Floats) -> tuple[Floats, Floats]:
    """Tokens of the large model, and seconds, while a small one answers; it has written `begin` tokens already.

    Without rates it writes in the inverse proportion of their sizes, in no time. A further model without a rate
    is as fast as the first.
    """
    left = table.llm.tokens - begin
    rates, small = plan.llm.rates, plan.models[attempt.role].rates or plan.slm.rates
    if rates is None or small is None:
        parameters = plan.models[attempt.role].parameters
        meanwhile = np.minimum(attempt.counts.completion * parameters / plan.llm.parameters, left)
        return meanwhile, np.zeros_like(meanwhile)
    reading = np.where(begin > 0, 0.0, table.llm.prompt / rates.input)
    trying = role_seconds(small, attempt.counts) + attempt.check_seconds
    seconds = np.minimum(trying, reading + left / rates.output)
    return np.maximum(seconds - reading, 0.0) * rates.output, seconds
