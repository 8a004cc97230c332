"""The methods that an evaluation compares, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from lab.training.fitting import answer_examples
from lab.training.names import LLM_ALONE, ORACLE, ORACLE_FINISHING, OURS, SLM_ALONE, TRIAL, WORDS
from lab.training.outcomes import cascade, fixed, forced, llm_alone, oracle, random_stops, route, slm_alone
from lab.training.policy import NEVER, Policy
from lab.training.pricing import Outcome
from lab.training.rule import Rule
from lab.training.study import CASCADE, PAPER, Policies, Study
from lab.training.table import Floats, Table
from lab.training.verified import checked_llm, llm_first, verified
from tandem.method.checks import TrialPlan
from tandem.method.plan import Plan


def run_methods(
    table: Table, plan: Plan, study: Study, policies: Policies, scores_by: Callable[[str], Floats]
) -> dict[str, Outcome]:
    """The outcome of each method by name. Without extra runs (`collect --no-extras`) concise and forced are missing."""

    def run(policy: Policy) -> Outcome:
        return policy.run(table, plan, scores_by(policy.kind))

    answer_scores = study.artefact(CASCADE).network.probabilities(answer_examples(table).batch)
    ours, stages = run(policies.served), range(1, table.stages)
    has_concise, has_forced = table.concise.exists.all(), table.forced.exists.any()
    return {
        LLM_ALONE: llm_alone(table, plan),
        **({"concise": llm_alone(table, plan, concise=True)} if has_concise else {}),
        SLM_ALONE: slm_alone(table, plan),
        **{f"fixed:{k}": fixed(table, plan, k) for k in stages},
        **{f"forced:{k}": forced(table, plan, k) for k in stages if has_forced},
        "random": random_stops(table, plan, stop_shares(ours, table.stages), seed=0),
        "paper": policies.paper.run(table, plan, scores_by(PAPER)),
        "cascade": cascade(table, plan, answer_scores, policies.cascade),
        "router": route(table, plan, scores_by(WORDS)[:, 0], policies.route),
        OURS: ours,
        **_our_other_policies(policies, run),
        **(_with_checks(table, plan, policies) if table.is_checked.any() else {}),
        ORACLE: oracle(table, plan, llm_finishes=False),
        ORACLE_FINISHING: oracle(table, plan, llm_finishes=True),
    }


def _our_other_policies(policies: Policies, run: Callable[[Policy], Outcome]) -> dict[str, Outcome]:
    served, other = policies.finishing, policies.never_finishing
    if not policies.served.llm_finishes:
        served, other = other, served
    without = {f"{OURS}:without-trials": run(served)} if policies.served.trial.stages else {}
    name = "llm-never-finishes" if policies.served.llm_finishes else "llm-finishes"
    return {**without, f"{OURS}:{name}": run(other)}


def _with_checks(table: Table, plan: Plan, policies: Policies) -> dict[str, Outcome]:
    """What else a check can be used for; the large model answers every question that has none."""
    never = Rule(np.zeros(table.slm.right.shape), [NEVER] * table.stages, llm_finishes=True, needs_pass=False)

    def trial(plan_of_trial: TrialPlan) -> Outcome:
        return verified(table, plan, plan_of_trial, never)

    has_repairs = bool((table.repair.exists | ~table.slm.failed[:, 0]).all())
    repaired = replace(policies.trial, repairs=1)
    return {
        TRIAL: trial(policies.trial),
        **({f"{TRIAL}:repair": trial(repaired)} if has_repairs and table.repair.exists.any() else {}),
        **({f"{TRIAL}:shortest": trial(policies.trial_of_shortest)} if table.question_tokens.all() else {}),
        "llm-first": llm_first(table, plan),
        "llm-checked": checked_llm(table, plan),
    }


def stop_shares(outcome: Outcome, stages: int) -> list[float]:
    """Shares of the answers that came from stage 0, 1, ..., K; the rest of 1 is the large model's."""
    return [float((outcome.stage == k).mean()) for k in range(stages)]


def display_name(name: str) -> str:
    """A method's name in tables and plots."""
    kind, _, argument = name.partition(":")
    shown = {
        LLM_ALONE: "LLM alone",
        "concise": "LLM, concise prompt",
        SLM_ALONE: "SLM alone",
        "fixed": f"fixed stage {argument}",
        "forced": f"LLM forced to answer after stage {argument}",
        "random": "our stops on random questions",
        "paper": "the paper's rule",
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
