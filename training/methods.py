"""The methods that an evaluation compares, by name."""

from __future__ import annotations

from collections.abc import Callable

from tandem.method.plan import Plan
from training.estimators import WORDS
from training.fitting import answer_examples
from training.outcomes import cascade, fixed, forced, llm_alone, oracle, random_stops, route, slm_alone
from training.policy import Policy
from training.pricing import Outcome
from training.study import CASCADE, PAPER, Policies, Study
from training.table import Floats, Table

OURS, LLM_ALONE, SLM_ALONE = "tandem", "llm", "slm"
ORACLE, ORACLE_FINISHING = "oracle", "oracle:llm-finishes"


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
        **_our_other_policy(policies, run),
        ORACLE: oracle(table, plan, llm_finishes=False),
        ORACLE_FINISHING: oracle(table, plan, llm_finishes=True),
    }


def _our_other_policy(policies: Policies, run: Callable[[Policy], Outcome]) -> dict[str, Outcome]:
    if policies.served.llm_finishes:
        return {f"{OURS}:llm-never-finishes": run(policies.never_finishing)}
    return {f"{OURS}:llm-finishes": run(policies.finishing)}


def stop_shares(outcome: Outcome, stages: int) -> list[float]:
    """Shares of the answers that came from stage 0, 1, ..., K; the rest of 1 is the large model's."""
    return [float((outcome.stage == k).mean()) for k in range(stages)]


def display_name(name: str) -> str:
    """A method's name in tables and plots."""
    kind, _, argument = name.partition(":")
    return {
        LLM_ALONE: "LLM alone",
        "concise": "LLM, concise prompt",
        SLM_ALONE: "SLM alone",
        "fixed": f"fixed stage {argument}",
        "forced": f"LLM forced to answer after stage {argument}",
        "random": "our stops on random questions",
        "paper": "the paper's rule",
        "cascade": "cascade: SLM, then LLM",
        "router": "router by the question",
    }.get(
        kind, name.replace(":llm-finishes", ", LLM may finish").replace(":llm-never-finishes", ", LLM never finishes")
    )
