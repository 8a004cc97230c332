"""`tandem eval`: ours and every way that it must beat, on questions that no choice was made by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.sufficiency_scorer.artefact import Artefact
from tandem.method.plan import Plan
from training.estimators import WORDS
from training.fitting import answer_examples, as_grid, examples_of
from training.headroom import Headroom, headroom
from training.metrics import (
    Interval,
    Quality,
    accuracy,
    bootstrap,
    mcnemar,
    quality,
    quality_by_stage,
    ratio_of_means,
    reliability,
)
from training.outcomes import (
    LLM,
    Outcome,
    cascade,
    fixed,
    forced,
    llm_alone,
    oracle,
    random_stops,
    route,
    slm_alone,
)
from training.policy import Policy
from training.study import CASCADE, PAPER, Policies, Study
from training.table import Floats, Table

OURS, LLM_ALONE, SLM_ALONE = "tandem", "llm", "slm"
ORACLE, ORACLE_FINISHING = "oracle", "oracle:llm-finishes"
_DRAWS = 200


class UnknownMethod(Exception):
    """A method that there is not, or that the collected runs know nothing of."""


@dataclass(frozen=True)
class Row:
    """One way to answer. Token counts are means; costs in TFLOPs and USD per question and relative to the LLM alone's.

    `difference` is the accuracy less the LLM's, paired; `p_llm` and `p_best_fixed` are McNemar's. `truncated` counts the
    answers that were cut off; `stops` those that came from stage "0", "1", ... and from the large model itself, "llm".
    """

    name: str
    accuracy: Interval
    difference: Interval
    p_llm: float
    p_best_fixed: float
    llm_tokens: float
    slm_tokens: float
    overrun_tokens: float
    truncated: int
    paper: float
    full: float
    usd: float
    relative_paper: Interval
    relative_full: Interval
    relative_usd: Interval
    stops: dict[str, int]

    @property
    def label(self) -> str:
        return label(self.name)


@dataclass(frozen=True)
class Evaluation:
    """`gap_closed` is (ours - best fixed) / (oracle - best fixed) in accuracy; the best fixed stage is the most accurate
    that costs no more (`full`) than ours, picked with these questions' own answers, to its advantage; None where none is
    as cheap, or none leaves a gap. The oracle may let the large model finish where ours may. `random_same_stops` is ours
    with its stops dealt to random questions. `scorer` is by stage; `aurocs` by kind of scorer and stage, None where all is alike.
    """

    dataset: str
    n: int
    rows: list[Row]
    best_fixed: str | None
    gap_closed: Interval | None
    random_same_stops: Interval
    random_same_cost: Interval
    scorer: list[Quality]
    scorer_overall: Quality
    reliability: list[tuple[float, float, int]]
    aurocs: dict[str, list[float | None]]
    headroom: list[Headroom]

    def row(self, name: str) -> Row:
        return next(row for row in self.rows if row.name == name)


def scores_of(artefact: Artefact, table: Table) -> Floats:
    """The scores that serving would give, float64[n, K + 1]; NaN where the stage does not exist."""
    examples = examples_of(table, artefact.description.label)
    return as_grid(artefact.network.probabilities(examples.batch), examples, len(table.questions))


def evaluate(dataset: str, table: Table, plan: Plan, study: Study, methods: Sequence[str] | None = None) -> Evaluation:
    """`methods` are names of ways to answer, all if not given. Raises StudyError, UnknownMethod."""
    policies = study.policies()
    artefact = study.artefact(policies.served.kind)
    scores_by = cache(lambda kind: scores_of(study.artefact(kind), table))
    scores = scores_by(policies.served.kind)
    ways = ways_to_answer(table, plan, study, policies, scores_by)
    asked = list(ways) if methods is None else methods
    if unknown := [name for name in asked if name not in ways]:
        raise UnknownMethod(f"no method {', '.join(unknown)} for these runs; there are: {', '.join(ways)}")
    ours, alone = ways[OURS], ways[LLM_ALONE]
    best = ORACLE_FINISHING if policies.served.llm_finishes else ORACLE
    best_fixed = _best_fixed(ways, float(ours.full.mean()))
    n = len(table.questions)
    there, enough = table.slm.exists, table.enough(artefact.description.label)
    return Evaluation(
        dataset=dataset,
        n=n,
        rows=[_row(name, ways[name], alone, ways.get(best_fixed or ""), table.stages) for name in asked],
        best_fixed=best_fixed,
        gap_closed=_gap_closed(ours, ways[best], ways[best_fixed]) if best_fixed else None,
        random_same_stops=_drawn(table, plan, _shares(ours, table.stages)),
        random_same_cost=_drawn(table, plan, _mixed(ways, ours, table.stages)),
        scorer=quality_by_stage(scores, there, enough),
        scorer_overall=quality(scores[there], enough[there]),
        reliability=reliability(scores[there], enough[there]),
        aurocs={
            kind: [found.auroc for found in quality_by_stage(scores_by(kind), there, enough)]
            for kind in study.training().kinds
            if kind != "boosting"
        },
        headroom=headroom(table, plan),
    )


def ways_to_answer(
    table: Table, plan: Plan, study: Study, policies: Policies, scores_by: Callable[[str], Floats]
) -> dict[str, Outcome]:
    """By name. Only ways that the collected runs know of: without extras there is no concise and no forced answer."""
    paper = scores_by(PAPER)
    trust = study.artefact(CASCADE).network.probabilities(answer_examples(table).batch)
    stages = range(1, table.stages)

    def run(policy: Policy) -> Outcome:
        return policy.run(table, plan, scores_by(policy.kind))

    routed = scores_by(WORDS)[:, 0]
    ours = run(policies.served)
    ways = {
        LLM_ALONE: llm_alone(table, plan),
        "concise": llm_alone(table, plan, concise=True) if table.concise.exists.all() else None,
        SLM_ALONE: slm_alone(table, plan),
        **{f"fixed:{k}": fixed(table, plan, k) for k in stages},
        **{f"forced:{k}": forced(table, plan, k) for k in stages if table.forced.exists.any()},
        "random": random_stops(table, plan, _shares(ours, table.stages), seed=0),
        "paper": policies.paper.run(table, plan, paper),
        "cascade": cascade(table, plan, trust, policies.cascade),
        "router": route(table, plan, routed, policies.route),
        OURS: ours,
        _other_name(policies): run(_other(policies)),
        ORACLE: oracle(table, plan, llm_finishes=False),
        ORACLE_FINISHING: oracle(table, plan, llm_finishes=True),
    }
    return {name: way for name, way in ways.items() if way is not None}


def label(name: str) -> str:
    """A method's name for people."""
    kind, _, argument = name.partition(":")
    return {
        LLM_ALONE: "LLM alone",
        "concise": "LLM told to be concise",
        SLM_ALONE: "SLM alone",
        "fixed": f"fixed stage {argument}",
        "forced": f"LLM forced to answer after stage {argument}",
        "random": "our stops, dealt to random questions",
        "paper": "the paper's rule",
        "cascade": "cascade: SLM, then LLM",
        "router": "router by the question",
    }.get(
        kind, name.replace(":llm-finishes", ", LLM may finish").replace(":llm-never-finishes", ", LLM never finishes")
    )


def _other(policies: Policies) -> Policy:
    return policies.never_finishing if policies.served.llm_finishes else policies.finishing


def _other_name(policies: Policies) -> str:
    return f"{OURS}:llm-never-finishes" if policies.served.llm_finishes else f"{OURS}:llm-finishes"


def _row(name: str, way: Outcome, alone: Outcome, best_fixed: Outcome | None, stages: int) -> Row:
    n = len(way.right)

    def relative(unit: str) -> Interval:
        return ratio_of_means(getattr(way, unit), getattr(alone, unit))

    return Row(
        name=name,
        accuracy=accuracy(way.right),
        difference=bootstrap(lambda rows: float(way.right[rows].mean() - alone.right[rows].mean()), n),
        p_llm=mcnemar(way.right, alone.right),
        p_best_fixed=mcnemar(way.right, best_fixed.right) if best_fixed else 1.0,
        llm_tokens=float(way.llm_tokens.mean()),
        slm_tokens=float(way.slm_tokens.mean()),
        overrun_tokens=float(way.overrun_tokens.mean()),
        truncated=int(way.truncated.sum()),
        paper=float(way.paper.mean()),
        full=float(way.full.mean()),
        usd=float(way.usd.mean()),
        relative_paper=relative("paper"),
        relative_full=relative("full"),
        relative_usd=relative("usd"),
        stops=_stops(way, stages),
    )


def _stops(way: Outcome, stages: int) -> dict[str, int]:
    return {"llm" if k == LLM else str(k): int((way.stage == k).sum()) for k in (*range(stages), LLM)}


def _shares(way: Outcome, stages: int) -> list[float]:
    """How many of its answers came from stage 0, 1, ..., K, as shares; what is left of 1 was the large model's."""
    return [float((way.stage == k).mean()) for k in range(stages)]


def _best_fixed(ways: dict[str, Outcome], most: float) -> str | None:
    cheap = [n for n in ways if (n == SLM_ALONE or n.startswith("fixed")) and ways[n].full.mean() <= most + 1e-12]
    return max(cheap, key=lambda name: ways[name].right.mean()) if cheap else None


def _gap_closed(ours: Outcome, best: Outcome, base: Outcome) -> Interval | None:
    def closed(rows: NDArray[np.intp]) -> float:
        gap = best.right[rows].mean() - base.right[rows].mean()
        return float((ours.right[rows].mean() - base.right[rows].mean()) / gap) if gap > 0 else float("nan")

    return bootstrap(closed, len(ours.right)) if best.right.sum() > base.right.sum() else None


def _drawn(table: Table, plan: Plan, shares: Sequence[float]) -> Interval:
    """Accuracy of stops dealt at random: mean of many deals, and where 95 % of them lie."""
    drawn = [float(random_stops(table, plan, shares, seed).right.mean()) for seed in range(_DRAWS)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(float(np.mean(drawn)), float(low), float(high))


def _mixed(ways: dict[str, Outcome], ours: Outcome, stages: int) -> list[float]:
    """Shares of "SLM alone", with the LLM alone for the rest, that cost as much as ours."""
    small, large = float(ways[SLM_ALONE].full.mean()), float(ways[LLM_ALONE].full.mean())
    share = float(np.clip((large - ours.full.mean()) / (large - small), 0, 1))
    return [share, *[0.0] * (stages - 1)]


def as_contract(evaluation: Evaluation, profile: str, path: str, sha256: str) -> dict[str, Any]:
    """The evaluation with the keys that programs rely on; tokens, TFLOPs and USD are means per question."""
    rows = evaluation.rows
    methods = {
        row.name: {
            "accuracy": row.accuracy.mean,
            "ci95": [row.accuracy.low, row.accuracy.high],
            "n": evaluation.n,
            "truncated": row.truncated,
            "llm_tokens": row.llm_tokens,
            "slm_tokens": row.slm_tokens,
            "overrun_tokens": row.overrun_tokens,
            "tflops_paper": row.paper,
            "tflops_full": row.full,
            "usd": row.usd,
            "stop_stages": row.stops,
        }
        for row in rows
    }
    comparisons = [
        {
            "a": row.name,
            "b": LLM_ALONE,
            "accuracy_difference": row.difference.mean,
            "ci95": [row.difference.low, row.difference.high],
            "p_value": row.p_llm,
            "cost_ratio_paper": row.relative_paper.mean,
            "cost_ratio_full": row.relative_full.mean,
        }
        for row in rows
        if row.name != LLM_ALONE
    ]
    return {
        "profile": profile,
        "data": {"path": path, "sha256": sha256, "n": evaluation.n},
        "methods": methods,
        "comparisons": comparisons,
        "auroc_by_stage": evaluation.aurocs,
        "headroom": [vars(each) for each in evaluation.headroom],
    }
