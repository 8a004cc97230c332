"""`tandem eval`: ours and every way that it must beat, on questions that no choice was made by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.sufficiency_scorer.artefact import Artefact
from training.fitting import answer_examples, as_grid, examples_of
from training.metrics import Interval, Quality, accuracy, bootstrap, mcnemar, quality, reliability
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
from training.study import CASCADE, Policies, Study
from training.table import Floats, Table
from workflows.shared import Plan

OURS, LLM_ALONE = "tandem", "LLM alone"
_DRAWS = 200


@dataclass(frozen=True)
class Row:
    """One way to answer. Token counts are means; costs in TFLOPs and USD per question and relative to the LLM alone's.

    `difference` is the accuracy less the LLM's, paired; `p_llm` and `p_best_fixed` are McNemar's. `stops` is the share of
    the answers that came from stage 0, 1, ..., K, and last from the large model.
    """

    name: str
    accuracy: Interval
    difference: Interval
    p_llm: float
    p_best_fixed: float
    llm_tokens: float
    slm_tokens: float
    overrun_tokens: float
    truncated: float
    paper: float
    full: float
    usd: float
    relative_paper: Interval
    relative_full: Interval
    relative_usd: Interval
    stops: list[float]


@dataclass(frozen=True)
class Evaluation:
    """`gap_closed` is (ours - best fixed) / (oracle - best fixed) in accuracy; the best fixed stage is the most accurate
    that costs no more (`full`) than ours, picked with these questions' own answers, to its advantage; None where none is
    as cheap, or none leaves a gap. The oracle may let the large model finish where ours may. `random_same_stops` is ours with its stops dealt to random questions. `scorer` is by stage.
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

    def row(self, name: str) -> Row:
        return next(row for row in self.rows if row.name == name)


def scores_of(artefact: Artefact, table: Table) -> Floats:
    """The scores that serving would give, float64[n, K + 1]; NaN where the stage does not exist."""
    examples = examples_of(table)
    return as_grid(artefact.network.probabilities(examples.batch), examples, len(table.questions))


def evaluate(dataset: str, table: Table, plan: Plan, study: Study) -> Evaluation:
    """Raises StudyError."""
    policies, artefact = study.policies(), study.artefact(study.training().chosen)
    scores = scores_of(artefact, table)
    ways = ways_to_answer(table, plan, study, policies, scores)
    ours, alone = ways[OURS], ways[LLM_ALONE]
    best = "oracle, LLM may finish" if policies.served.llm_finishes else "oracle"
    best_fixed = _best_fixed(ways, float(ours.full.mean()))
    n = len(table.questions)
    there = table.slm.exists
    shares = _stops(ours, table.stages)[:-1]
    return Evaluation(
        dataset=dataset,
        n=n,
        rows=[_row(name, way, alone, ways.get(best_fixed or ""), table.stages) for name, way in ways.items()],
        best_fixed=best_fixed,
        gap_closed=_gap_closed(ours, ways[best], ways[best_fixed]) if best_fixed else None,
        random_same_stops=_drawn(table, plan, shares),
        random_same_cost=_drawn(table, plan, _mixed(ways, ours, table.stages)),
        scorer=[quality(scores[there[:, k], k], table.slm.right[there[:, k], k]) for k in range(table.stages)],
        scorer_overall=quality(scores[there], table.slm.right[there]),
        reliability=reliability(scores[there], table.slm.right[there]),
    )


def ways_to_answer(table: Table, plan: Plan, study: Study, policies: Policies, scores: Floats) -> dict[str, Outcome]:
    """By name. Only ways that the collected runs know of: without extras there is no concise and no forced answer."""
    paper = scores_of(study.artefact("mlp"), table)
    examples = answer_examples(table)
    trust = study.artefact(CASCADE).network.probabilities(examples.batch)
    stages = range(1, table.stages)
    ways = {
        LLM_ALONE: llm_alone(table, plan),
        "LLM told to be concise": llm_alone(table, plan, concise=True) if table.concise.exists.all() else None,
        "SLM alone": slm_alone(table, plan),
        **{f"fixed stage {k}": fixed(table, plan, k) for k in stages},
        **{f"LLM forced after stage {k}": forced(table, plan, k) for k in stages if table.forced.exists.any()},
        "paper's rule": policies.paper.run(table, plan, paper),
        "cascade": cascade(table, plan, trust, policies.cascade),
        "router": route(table, plan, scores[:, 0], policies.route),
        OURS: policies.served.run(table, plan, scores),
        _other_name(policies): _other(policies).run(table, plan, scores),
        "oracle": oracle(table, plan, llm_finishes=False),
        "oracle, LLM may finish": oracle(table, plan, llm_finishes=True),
    }
    return {name: way for name, way in ways.items() if way is not None}


def _other(policies: Policies) -> Policy:
    return policies.never_finishing if policies.served.llm_finishes else policies.finishing


def _other_name(policies: Policies) -> str:
    return "tandem, LLM never finishes" if policies.served.llm_finishes else "tandem, LLM may finish"


def _row(name: str, way: Outcome, alone: Outcome, best_fixed: Outcome | None, stages: int) -> Row:
    n = len(way.right)

    def relative(unit: str) -> Interval:
        ours, theirs = getattr(way, unit), getattr(alone, unit)
        return bootstrap(lambda rows: float(ours[rows].mean() / theirs[rows].mean()), n)

    return Row(
        name=name,
        accuracy=accuracy(way.right),
        difference=bootstrap(lambda rows: float(way.right[rows].mean() - alone.right[rows].mean()), n),
        p_llm=mcnemar(way.right, alone.right),
        p_best_fixed=mcnemar(way.right, best_fixed.right) if best_fixed else 1.0,
        llm_tokens=float(way.llm_tokens.mean()),
        slm_tokens=float(way.slm_tokens.mean()),
        overrun_tokens=float(way.overrun_tokens.mean()),
        truncated=float(way.truncated.mean()),
        paper=float(way.paper.mean()),
        full=float(way.full.mean()),
        usd=float(way.usd.mean()),
        relative_paper=relative("paper"),
        relative_full=relative("full"),
        relative_usd=relative("usd"),
        stops=_stops(way, stages),
    )


def _stops(way: Outcome, stages: int) -> list[float]:
    return [float((way.stage == k).mean()) for k in (*range(stages), LLM)]


def _best_fixed(ways: dict[str, Outcome], most: float) -> str | None:
    cheap = [n for n in ways if (n == "SLM alone" or n.startswith("fixed")) and ways[n].full.mean() <= most + 1e-12]
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
    small, large = float(ways["SLM alone"].full.mean()), float(ways[LLM_ALONE].full.mean())
    share = float(np.clip((large - ours.full.mean()) / (large - small), 0, 1))
    return [share, *[0.0] * (stages - 1)]
