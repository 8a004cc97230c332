"""Where a small model should try first, and which: candidates for the trials, and their frontier together with the
thresholds'.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations, permutations, product
from typing import get_args

import numpy as np

from lab.training.policy import Measure, Point, Policy, Unit, pareto_front
from lab.training.table import Floats, Table
from tandem.method.evidence.checks import TrialMode, TrialPlan
from tandem.method.request.plan import Plan
from tandem.method.roles import SLM, SMALL_ROLES
from tandem.method.rule.stop_rule import NEVER

Order = tuple[str, ...]
_MOST_STAGES = 2
_SHARES = (0.5, 0.7, 0.9)
_ROUND_TO = 16  # tokens; a finer cap would fit these very questions


def with_trials(rules: Sequence[Policy], table: Table, plan: Plan, scores: Floats, unit: Unit) -> list[Point]:
    """Each of `rules`, policies without trials, with every trial that is worth its cost on the questions with a check.

    Empty where no question has one. `scores` are those of the rules.
    """
    if not any(each.passed.any() for each in (table.slm, *table.further.values())):
        return []
    measure = Measure(table, plan, unit)
    trials = [point.policy for point in trial_front(table, plan, unit)]
    policies = [
        replace(rule, trial=each.trial, programs_agree=each.programs_agree) for rule, each in product(rules, trials)
    ]
    return [measure.point(policy, policy.run(table, plan, scores)) for policy in policies]


def with_agreement(rules: Sequence[Policy], table: Table, plan: Plan, scores: Floats, unit: Unit) -> list[Point]:
    """Each of `rules` with trials at two stages, whose answers must agree where nothing else can be checked."""
    measure = Measure(table, plan, unit)
    pairs = combinations(range(table.stages), 2)
    trials = [TrialPlan(list(pair), max_tokens=plan.answer_max_tokens) for pair in pairs]
    policies = [replace(rule, trial=trial, agreement=2) for rule, trial in product(rules, trials)]
    return [measure.point(policy, policy.run(table, plan, scores)) for policy in policies]


def trial_front(table: Table, plan: Plan, unit: Unit) -> list[Point]:
    """The Pareto frontier of trials on the questions with a check, the large model answering what fails; cheapest
    first.
    """
    part = table.take(table.is_checked)
    measure, nothing = Measure(part, plan, unit), np.zeros(part.slm.right.shape)
    never = Policy((NEVER,) * part.stages, llm_finishes=True, needs_pass=False)
    policies = [
        replace(never, trial=trial, programs_agree=agree)
        for trial in candidates(part, plan, orders(part, plan, unit))
        for agree in ((False, True) if len(trial.order) > 1 and part.is_compared.any() else (False,))
    ]
    return pareto_front(measure.point(policy, policy.run(part, plan, nothing)) for policy in policies)


def orders(table: Table, plan: Plan, unit: Unit) -> list[Order]:
    """Who may try: every order of the small models that have answered these questions, and whose cost in the unit is
    known.
    """
    known = [role for role in SMALL_ROLES if role == SLM or _is_known(table, plan, role, unit)]
    return [each for size in range(1, len(known) + 1) for each in permutations(known, size)]


def _is_known(table: Table, plan: Plan, role: str, unit: Unit) -> bool:
    if role not in plan.models or role not in table.further or not len(table.questions):
        return False
    model = plan.models[role]
    costs = {"usd": model.prices.is_known, "seconds": model.rates is not None}
    return bool(table.further[role].exists.all()) and costs.get(unit, True)


def candidates(table: Table, plan: Plan, among: Sequence[Order] = (("slm",),)) -> Iterator[TrialPlan]:
    """All trials to be compared; caps and lengths are quantiles of what these questions have. `among`: by whom.

    A further small model tries from bare questions alone, and repairs nothing: no more is collected.
    """
    every = range(table.stages)
    stages = [list(each) for size in range(1, _MOST_STAGES + 1) for each in combinations(every, size)]
    first = table.slm.first_column
    caps = [plan.answer_max_tokens, *_quantiles(first.tokens[first.passed])]
    lengths = [0, *_quantiles(table.question_tokens[first.failed])] if table.question_tokens.all() else [0]
    has_repairs = table.repair.exists.any()
    modes: tuple[TrialMode, ...] = get_args(TrialMode) if plan.llm.rates else ("sequential",)
    for each, mode, cap, length, order in product(stages, modes, caps, lengths, among):
        is_alone = order == (SLM,)
        if (each[0] > 0 and length) or not (is_alone or each == [0]):
            continue  # only a trial of the bare question can end the request
        yield TrialPlan(each, mode, 0, cap, length, list(order))
        if has_repairs and each[0] == 0 and is_alone:
            yield TrialPlan(each, mode, 1, cap, length, list(order))


def _quantiles(values: Floats) -> list[int]:
    if not len(values):
        return []
    found = np.quantile(values, _SHARES)
    return sorted({int(np.ceil(value / _ROUND_TO) * _ROUND_TO) for value in found})


def shortest_failures(table: Table, trial: TrialPlan, share: float) -> TrialPlan:
    """`trial` that sends only this share of the failed questions, the shortest, to the large model; no limit if lengths
    lack.
    """
    lengths = table.question_tokens[table.slm.failed[:, 0]]
    limit = int(np.quantile(lengths, share)) if len(lengths) and lengths.all() else 0
    return replace(trial, escalate_max_tokens=limit)
