"""The methods that an evaluation compares, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np

from lab.training.errors import StudyError
from lab.training.fitting import answer_examples
from lab.training.names import LLM_ALONE, ORACLE, ORACLE_FINISHING, OURS, SLM_ALONE, TRIAL, WORDS
from lab.training.outcomes import (
    cascade,
    fixed,
    forced,
    forced_where,
    llm_alone,
    oracle,
    random_stops,
    route,
    slm_alone,
)
from lab.training.policy import Policy
from lab.training.pricing import PricedCourse
from lab.training.rule import Rule, stop_rule
from lab.training.shepherd import AS_PREDICTED, Hints, Shepherd
from lab.training.study import CASCADE, PAPER, Policies, Study
from lab.training.table import Floats, Table
from lab.training.verified import checked_llm, llm_first, verified
from tandem.method.evidence.checks import TrialPlan
from tandem.method.request.plan import Plan
from tandem.method.rule.stop_rule import NEVER

_OF_INSIGHT = (
    "fixed",
    "forced",
    "paper",
    "cascade",
    "shepherd",
)  # of insight, or of scored answers, which come with it
_SCORERS = {
    "paper": PAPER,
    "forced:paper": PAPER,
    "paper:zero": PAPER,
    "cascade": CASCADE,
    "shepherd:reactive": CASCADE,
}
_ONLY_QUESTION = "collect --only-question"


@dataclass(frozen=True)
class Methods:
    """Outcomes by name, in the order of a report. `left_out`: names of the others, with the reason."""

    outcomes: dict[str, PricedCourse]
    left_out: dict[str, str]


def reads(study: Study, kind: str, computed_by: str) -> bool:
    """Whether a trained scorer of the kind can read scoring passes that were `computed_by` an engine (scorer's
    Description).
    """
    return kind == WORDS or study.artefact(kind).description.computed_by == computed_by


def run_methods(
    table: Table, plan: Plan, study: Study, policies: Policies, scores_by: Callable[[str], Floats], computed_by: str
) -> Methods:
    """Without extra runs (`collect --no-extras`) concise and forced are missing.

    Raises StudyError where the served policy needs what `table` lacks.
    """
    _must_run(policies.served, table, study, computed_by)

    def run(policy: Policy) -> PricedCourse:
        return policy.run(table, plan, scores_by(policy.kind))

    @cache
    def own() -> Floats:
        """Scores of the small model's own answers."""
        return study.artefact(CASCADE).network.probabilities(answer_examples(table).batch)

    @cache
    def hints() -> Hints:
        return study.hints().predict(table)

    def shepherding(shepherd: Shepherd) -> PricedCourse:
        return shepherd.run(table, plan, hints(), own())

    ours, stages = run(policies.served), range(1, table.stages)
    has_concise, has_forced = table.concise.exists.all(), table.forced.exists.any()
    known: dict[str, Callable[[], PricedCourse]] = {
        LLM_ALONE: lambda: llm_alone(table, plan),
        **({"concise": lambda: llm_alone(table, plan, concise=True)} if has_concise else {}),
        SLM_ALONE: lambda: slm_alone(table, plan),
        **{f"fixed:{k}": partial(fixed, table, plan, k) for k in stages},
        **{f"forced:{k}": partial(forced, table, plan, k) for k in stages if has_forced},
        "random": lambda: random_stops(table, plan, stop_shares(ours, table.stages), seed=0),
        "paper": lambda: policies.paper.run(table, plan, scores_by(PAPER)),
        "paper:zero": lambda: policies.paper_from_zero.run(table, plan, scores_by(PAPER)),
        **(
            {
                "forced:paper": lambda: forced_where(
                    table, plan, stop_rule(table, plan, policies.paper.rule(scores_by(PAPER)))
                )
            }
            if has_forced
            else {}
        ),
        "shepherd": lambda: shepherding(policies.shepherd),
        "shepherd:predicted": lambda: shepherding(AS_PREDICTED),
        "shepherd:reactive": lambda: shepherding(policies.shepherd_reactive),
        "cascade": lambda: cascade(table, plan, own(), policies.cascade),
        "router": lambda: route(table, plan, scores_by(WORDS)[:, 0], policies.route),
        OURS: lambda: ours,
        **{name: partial(run, policy) for name, policy in _our_other_policies(policies).items()},
        **(_with_checks(table, plan, policies) if table.is_checked.any() else {}),
        ORACLE: lambda: oracle(table, plan, llm_finishes=False),
        ORACLE_FINISHING: lambda: oracle(table, plan, llm_finishes=True),
    }
    left_out = _left_out(known, table, study, policies, computed_by)
    return Methods({name: method() for name, method in known.items() if name not in left_out}, left_out)


def _must_run(served: Policy, table: Table, study: Study, computed_by: str) -> None:
    if served.needs_insight and not table.has_insight:
        raise StudyError(
            f"the answers have no insight ({_ONLY_QUESTION}), after which the policy may stop: collect all"
        )
    if not reads(study, served.kind, computed_by):
        raise StudyError(
            f"the scorer {served.kind} was not trained on passes of {computed_by}, which these answers have"
        )


def _left_out(names: Iterable[str], table: Table, study: Study, policies: Policies, computed_by: str) -> dict[str, str]:
    """Reasons by name."""
    reasons = {}
    for name in names:
        kind = name.partition(":")[0]
        policy = _our_other_policies(policies).get(name)
        needs_insight = kind in _OF_INSIGHT or name == ORACLE or (policy is not None and policy.needs_insight)
        scorer = _SCORERS.get(name) or (policy.kind if policy else WORDS)
        if needs_insight and not table.has_insight:
            reasons[name] = f"no insight was collected ({_ONLY_QUESTION})"
        elif not reads(study, scorer, computed_by):
            reasons[name] = f"no scorer was trained on passes of {computed_by}"
    return reasons


def _our_other_policies(policies: Policies) -> dict[str, Policy]:
    served, other = policies.finishing, policies.never_finishing
    if not policies.served.llm_finishes:
        served, other = other, served
    without = {f"{OURS}:without-trials": served} if policies.served.trial.stages else {}
    name = "llm-never-finishes" if policies.served.llm_finishes else "llm-finishes"
    return {**without, f"{OURS}:{name}": other}


def _with_checks(table: Table, plan: Plan, policies: Policies) -> dict[str, Callable[[], PricedCourse]]:
    """What else a check can be used for; the large model answers every question that has none."""
    never = Rule(np.zeros(table.slm.right.shape), [NEVER] * table.stages, llm_finishes=True, needs_pass=False)

    def trial(plan_of_trial: TrialPlan) -> Callable[[], PricedCourse]:
        return lambda: verified(table, plan, plan_of_trial, never)

    has_repairs = bool((table.repair.exists | ~table.slm.failed[:, 0]).all())
    repaired = replace(policies.trial, repairs=1)
    return {
        TRIAL: trial(policies.trial),
        **({f"{TRIAL}:repair": trial(repaired)} if has_repairs and table.repair.exists.any() else {}),
        **({f"{TRIAL}:shortest": trial(policies.trial_of_shortest)} if table.question_tokens.all() else {}),
        "llm-first": lambda: llm_first(table, plan),
        "llm-checked": lambda: checked_llm(table, plan),
    }


def stop_shares(outcome: PricedCourse, stages: int) -> list[float]:
    """Shares of the answers that came from stage 0, 1, ..., K; the rest of 1 is the large model's."""
    return [float((outcome.stage == k).mean()) for k in range(stages)]


def display_name(name: str) -> str:
    """A method's name in tables and plots."""
    kind, _, argument = name.partition(":")
    where = "where the paper's rule stops" if argument == "paper" else f"after stage {argument}"
    shown = {
        LLM_ALONE: "LLM alone",
        "concise": "LLM, concise prompt",
        SLM_ALONE: "SLM alone",
        "fixed": f"fixed stage {argument}",
        "forced": f"LLM forced to answer {where}",
        "random": "our stops on random questions",
        "paper": "the paper's rule, from stage 0" if argument else "the paper's rule",
        "shepherd": f"LLM Shepherding{', ' if argument else ''}{'the predicted length' if argument == 'predicted' else argument}",  # noqa: E501
        "cascade": "cascade: SLM, then LLM",
        "router": "router by the question",
        TRIAL: {
            "": "SLM tries, fails to the LLM",
            "repair": "SLM tries and repairs, fails to the LLM",
            "shortest": "SLM tries, shorter fails to the LLM",
        }.get(argument),
        "llm-first": "LLM, its fails to the SLM",
        "llm-checked": "LLM alone, checked",
    }.get(kind)
    return shown or name.replace(":llm-", ", LLM ").replace(", LLM finishes", ", LLM may finish").replace(
        ":", ", "
    ).replace("-", " ")
