"""Checks as evidence: the policy that the workflow serves (docs/method.md, Checks), and what it is compared with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from lab.training.pricing import LLM, Course, PricedCourse, course, everywhere, priced, tokens, where
from lab.training.rule import OVERRUN, Rule, stop_rule
from lab.training.table import Bools, Floats, Table
from lab.training.trials import MOST_REPAIRS, Attempt, Trials, compared, first_answer, no_trials, repair, scoring_pass
from tandem.method.evidence.checks import AGREEMENT, CheckSpec, TrialPlan, Verdict, agreement
from tandem.method.request.plan import Plan
from tandem.method.roles import title
from tandem.method.rule.stop_rule import is_scored


def verified(table: Table, plan: Plan, trial: TrialPlan, rule: Rule, *, must_agree: bool = False) -> PricedCourse:
    """Trials first, each model where those before it did not pass, with `must_agree` by agreement of two models'
    programs alone; then the stop rule, which scores no stage whose trial failed; the large model where nothing stops
    it.

    A pass stops everything. A question whose check could not tell pays its trial; where the rule stops at the trial's
    stage, the trial is the answer. The large model's own answer is checked too: where it fails, a trial that held more
    is served.
    After stage 0, or from the start in `overlapped` mode, the large model writes on while the small one tries or
    scores.

    Raises ValueError where the trial needs a repair, an answer of a further model or the length of a question that was
    not collected.
    """
    trials = _try_all(table, plan, trial, rule, must_agree)
    if trial.mode == "overlapped":
        trials.let_llm_write(plan, table, scoring_pass(table), _scored_first(table, rule, trials), table.insight[:, 0])
    too_long = _too_long(table, trial, trials)
    asked = _as_tried(stop_rule(table, plan, rule, trials.failed, trials.answered), trials)
    asked = _with_what_llm_wrote(table, _judged(table, trials, asked), trials)
    ended = where(trials.passed | too_long, _served_trial(table, trials), asked)
    spent = replace(
        ended,
        slm=ended.slm + trials.spent["slm"],
        further={role: counts for role, counts in trials.spent.items() if role != "slm"},
        check_seconds=ended.check_seconds + trials.check_seconds,
    )
    late = np.asarray(spent.llm.overrun) / plan.llm.rates.output if plan.llm.rates else 0.0
    return priced(plan, replace(spent, overlap_seconds=trials.overlap_seconds + late))


def agreeing(table: Table, stages: Sequence[int], wanted: int) -> Table:
    """As if the agreement of `wanted` successive trials were the check of every question that has none."""
    spec, passed, failed = CheckSpec(AGREEMENT, str(wanted)), table.slm.passed.copy(), table.slm.failed.copy()
    for row in np.flatnonzero(~table.is_checked):
        made = [stage for stage in stages if table.slm.exists[row, stage]]
        for number, stage in enumerate(made, 1):
            verdict, _ = agreement([table.final_answers[row, k] for k in made[:number]], spec)
            passed[row, stage], failed[row, stage] = verdict is Verdict.PASS, verdict is Verdict.FAIL
    score = np.where(table.is_checked[:, None], table.slm.score, passed)
    slm = replace(table.slm, passed=passed, failed=failed, score=score)
    return replace(table, slm=slm, is_checked=np.ones_like(table.is_checked))


def checked_llm(table: Table, plan: Plan) -> PricedCourse:
    """The large model alone, whose answer is checked: the caller knows more, and nothing is saved."""
    alone = _llm(table)
    return priced(plan, replace(alone, check_seconds=table.llm.check_seconds))


def llm_first(table: Table, plan: Plan) -> PricedCourse:
    """The large model answers; where its answer fails its check the small one tries, and the better answer is
    served.
    """
    alone, slm, fails = _llm(table), table.slm.first_column, table.llm.failed
    is_better = fails & (slm.passed | (slm.score > table.llm.score))
    served = course(
        np.where(is_better, slm.right, alone.right),
        np.where(is_better, slm.truncated, alone.truncated),
        np.where(is_better, 0, LLM),
        llm=alone.llm,
        slm=tokens(np.where(fails, slm.prompt, 0.0), np.where(fails, slm.tokens, 0.0)),
    )
    seconds = table.llm.check_seconds + np.where(fails, slm.check_seconds, 0.0)
    return priced(plan, replace(served, check_seconds=seconds))


def _llm(table: Table) -> Course:
    answers = table.llm
    llm = tokens(answers.prompt, answers.tokens)
    return course(answers.right, answers.truncated, everywhere(table, LLM), llm=llm)


def _try_all(table: Table, plan: Plan, trial: TrialPlan, rule: Rule, must_agree: bool) -> Trials:
    _must_have_further(table, trial)
    trials = no_trials(table, trial.order)
    for stage in trial.stages:
        due = table.is_checked & table.slm.exists[:, stage] & ~trials.passed & ~_too_long(table, trial, trials)
        if stage:
            due &= _is_written(table, plan, rule, trials, stage)
        for role in trial.order:
            if must_agree and role == trial.order[-1]:  # with programs that failed no other one could agree
                due = due & ~(table.is_compared & (trials.newest == ""))
            for attempt, ran in _tries(table, trial, stage, role, due):
                made = compared(table, attempt, trials.newest) if must_agree else attempt
                trials.add(made, ran)
                if stage or trial.mode == "overlapped":
                    trials.let_llm_write(plan, table, made, ran, table.insight[:, stage])
            due = due & ~trials.passed
    return trials


def _tries(table: Table, trial: TrialPlan, stage: int, role: str, due: Bools) -> Iterator[tuple[Attempt, Bools]]:
    """A model's attempts at a stage, each with the questions on which it is made."""
    first = first_answer(table, trial, stage, role)
    yield first, due
    if stage == 0 and trial.repairs:
        _must_have_repairs(table, trial, due & first.failed & ~first.is_cut)
        yield repair(table, trial, first), due & first.failed


def _is_written(table: Table, plan: Plan, rule: Rule, trials: Trials, stage: int) -> Bools:
    """The rule has not stopped before the stage."""
    so_far = stop_rule(table, plan, rule, trials.failed, trials.answered)
    return np.asarray(so_far.llm.completion) >= table.insight[:, stage]


def _must_have_further(table: Table, trial: TrialPlan) -> None:
    further = [role for role in trial.order if role != "slm"] if trial.stages else []
    if further and (trial.stages != [0] or trial.repairs):
        raise ValueError("of a further small model only first answers to bare questions are collected")
    for role in further:
        found = table.further[role].exists if role in table.further else np.zeros_like(table.is_checked)
        if missing := int((table.is_checked & ~found).sum()):
            raise ValueError(f"{missing} questions have no answer of the {title(role)} model: collect them again")


def _as_tried(asked: Course, trials: Trials) -> Course:
    """Where the rule stops at the bare question, the first trial's answer that was not cut is the answer."""
    is_tried = (asked.stage == 0) & trials.answered[:, 0]
    right = np.where(is_tried, trials.first_right, asked.right)
    return replace(asked, right=right, truncated=asked.truncated & ~is_tried)


def _must_have_repairs(table: Table, trial: TrialPlan, needed: Bools) -> None:
    if trial.repairs > MOST_REPAIRS:
        raise ValueError(f"{trial.repairs} repairs cannot be simulated: {MOST_REPAIRS} is collected")
    if missing := int((needed & ~table.repair.exists).sum()):
        raise ValueError(f"{missing} failed answers have no repair: collect them with prompts.repair")


def _scored_first(table: Table, rule: Rule, trials: Trials) -> Bools:
    """Questions whose first evidence is a scoring pass."""
    is_read = rule.needs_pass and is_scored(rule.thresholds[0], rule.llm_finishes)
    scored = np.ones(len(table.questions), bool) if rule.scores_code else ~table.is_special
    return scored & ~trials.failed[:, 0] & ~trials.passed if is_read else np.zeros_like(scored)


def _too_long(table: Table, trial: TrialPlan, trials: Trials) -> Bools:
    """The trial of the bare question failed, and the question has too many tokens to be asked of the large model."""
    if not trial.escalate_max_tokens:
        return np.zeros(len(table.questions), bool)
    if not table.question_tokens[table.is_checked].all():
        raise ValueError(
            "escalate_max_tokens needs the questions' tokens: run `tandem collect` on the file, which adds them"
        )
    return trials.failed[:, 0] & ~trials.passed & (table.question_tokens > trial.escalate_max_tokens)


def _served_trial(table: Table, trials: Trials) -> Course:
    """The best trial is the answer; the large model wrote until then, and a little longer."""
    llm = tokens(np.where(trials.llm_runs, table.llm.prompt, 0.0), trials.llm_tokens, _overrun(table, trials))
    read = np.take_along_axis(table.insight, trials.best_stage[:, None], axis=1)[:, 0]
    return course(trials.best_right, trials.best_is_cut, trials.best_stage, llm=llm, read=read)


def _judged(table: Table, trials: Trials, asked: Course) -> Course:
    """The large model's own answer is checked; where it fails, a trial that held more is served."""
    has_answered = table.is_checked & (asked.stage == LLM)
    is_better = has_answered & table.llm.failed & (trials.best_score > table.llm.score)
    return replace(
        asked,
        right=np.where(is_better, trials.best_right, asked.right),
        truncated=np.where(is_better, trials.best_is_cut, asked.truncated),
        stage=np.where(is_better, trials.best_stage, asked.stage),
        check_seconds=asked.check_seconds + np.where(has_answered, table.llm.check_seconds, 0.0),
    )


def _with_what_llm_wrote(table: Table, asked: Course, trials: Trials) -> Course:
    """At least what it had written when the trials ended, whatever the rule needed."""
    wrote = np.maximum(asked.llm.completion, trials.llm_tokens)
    stopped = np.where(asked.stage == 0, _overrun(table, trials), 0.0)
    overrun = np.maximum(stopped, asked.llm.overrun)
    llm = tokens(np.where(trials.llm_runs, table.llm.prompt, asked.llm.prompt), wrote, overrun)
    return replace(asked, llm=llm)


def _overrun(table: Table, trials: Trials) -> Floats:
    """Of a large model that is stopped where the tries end."""
    return np.where(trials.llm_runs, np.minimum(OVERRUN, table.llm.tokens - trials.llm_tokens), 0.0)
