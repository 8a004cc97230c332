"""`tandem eval`: our policy against all baselines, on questions that were used for no choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from lab.training.fitting import as_grid, examples_of
from lab.training.methods import display_name, reads, run_methods, stop_shares
from lab.training.metrics import (
    Interval,
    accuracy,
    bootstrap,
    difference_of_means,
    mcnemar,
    quality,
    quality_by_stage,
    ratio_of_means,
)
from lab.training.names import BOOSTING, LLM_ALONE, ORACLE, ORACLE_FINISHING, OURS, SLM_ALONE
from lab.training.outcomes import llm_alone, random_stops, slm_alone
from lab.training.policy import UNITS, Unit, must_be_counted
from lab.training.pricing import LLM, PRICE_LISTS, PricedCourse
from lab.training.study import Study
from lab.training.table import Bools, Floats, Table
from services.sufficiency_scorer.artefact import TRANSFORMERS, Artefact, Quality
from tandem.method.request.plan import Plan

AUROCS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_SCORE_DRAWS = 200


@dataclass(frozen=True)
class Headroom:
    """`cost`: least `full` cost at the large model's accuracy, relative to the large model alone, mean over draws."""

    auroc: float
    cost: float


def headroom(table: Table, plan: Plan, seed: int = 0) -> list[Headroom]:
    """Each question is either stopped at stage 0 or answered by the large model; scores are free.

    The scores predict the label `nothing_lost`. The threshold is optimal for these same questions, so this is an upper
    bound on what a scorer of that AUROC would save.
    """
    alone, small = llm_alone(table, plan), slm_alone(table, plan)
    nothing_lost = table.targets("nothing_lost")[:, 0]
    generator = np.random.default_rng(seed)
    gain = small.right.astype(float) - alone.right
    saved = alone.full - small.full
    found = []
    for auroc in AUROCS:
        costs = [
            1 - _max_saved(_scores(nothing_lost, auroc, generator), gain, saved) / alone.full.sum()
            for _ in range(_SCORE_DRAWS)
        ]
        found.append(Headroom(auroc, float(np.mean(costs))))
    return found


def _scores(target: Bools, auroc: float, generator: np.random.Generator) -> Floats:
    """Binormal model: two normal distributions of equal variance, whose distance gives the AUROC."""
    noise = generator.normal(size=len(target))
    return target + 1e-3 * noise if auroc == 1 else target * np.sqrt(2) * norm.ppf(auroc) + noise


def _max_saved(scores: Floats, gain: Floats, saved: Floats) -> float:
    """Saved cost if the questions with the highest scores are stopped, as many as lose no right answer in total."""
    order = np.argsort(-scores)
    is_lossless = np.cumsum(gain[order]) >= 0
    return float(max(0.0, np.max(np.cumsum(saved[order])[is_lossless], initial=0.0)))


_DRAWS = 200
_TOLERANCE = 1e-12


class UnknownMethod(Exception):
    """A method that does not exist, or that the collected runs do not cover."""


@dataclass(frozen=True)
class MethodResult:
    """One method. Token counts are means; costs are TFLOPs, USD and device seconds per question.

    `relative` are costs relative to the LLM alone's, by the names of PricedCourse's fields. Seconds and `latency` are
    None without measured rates.

    `difference` is the accuracy less the LLM's, paired; `p_llm` and `p_best_fixed` are McNemar's. `truncated` counts
    truncated answers; `stops` counts answers from stage "0", "1", ... and from the large model itself, "llm".
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
    seconds: float | None
    latency: float | None
    relative: dict[str, Interval]
    stops: dict[str, int]

    @property
    def label(self) -> str:
        return display_name(self.name)


@dataclass(frozen=True)
class Evaluation:
    """`best_fixed` is the most accurate fixed stage that costs no more than ours, chosen on these questions, to its
    advantage; None if none is as cheap. `gap_closed` is (ours - best fixed) / (oracle - best fixed) in accuracy, None
    without a gap; the oracle lets the large model finish if ours does. `random_same_stops`: our stops assigned to
    random questions.
    `random_same_cost`: the two models at random, at our cost. `unit` is that of the cost. `scorer` is by stage,
    `aurocs` by kind of scorer and stage.
    `computed_by`: the engine of the answers, as a scorer's Description has it. `left_out`: methods that they do not
    allow, with the reason.
    """

    dataset: str
    n: int
    unit: Unit
    rows: list[MethodResult]
    best_fixed: str | None
    gap_closed: Interval | None
    random_same_stops: Interval
    random_same_cost: Interval
    scorer: list[Quality]
    scorer_overall: Quality
    aurocs: dict[str, list[float | None]]
    headroom: list[Headroom]
    computed_by: str
    left_out: dict[str, str]

    def row(self, name: str) -> MethodResult:
        return next(row for row in self.rows if row.name == name)


def scores_of(artefact: Artefact, table: Table) -> Floats:
    """The scores of serving, float64[n, K + 1]; NaN where the stage does not exist."""
    examples = examples_of(table, artefact.description.label)
    return as_grid(artefact.network.probabilities(examples.batch), examples, len(table.questions))


def evaluate(
    dataset: str, table: Table, plan: Plan, study: Study, methods: Sequence[str] | None = None, unit: Unit = "full",
    computed_by: str = TRANSFORMERS,
) -> Evaluation:  # fmt: skip
    """`methods` are names of methods, None for all. Raises StudyError, UnknownMethod, ValueError for seconds without
    rates.
    """
    must_be_counted(unit, plan)
    policies = study.policies()
    artefact = study.artefact(policies.served.kind)
    scores_by = cache(lambda kind: scores_of(study.artefact(kind), table))
    ran = run_methods(table, plan, study, policies, scores_by, computed_by)
    outcomes = ran.outcomes
    selected = list(outcomes) if methods is None else methods
    if unknown := [name for name in selected if name not in outcomes]:
        why = "".join(f"; {name}: {ran.left_out[name]}" for name in unknown if name in ran.left_out)
        raise UnknownMethod(f"no method {', '.join(unknown)} for these runs{why}; known: {', '.join(outcomes)}")
    ours, alone = outcomes[OURS], outcomes[LLM_ALONE]
    bound = outcomes[ORACLE_FINISHING if policies.served.llm_finishes else ORACLE]
    best_fixed = _best_fixed(outcomes, unit)
    base = outcomes[best_fixed] if best_fixed else None
    exists, targets = table.slm.exists, table.targets(artefact.description.label)
    scores = scores_by(policies.served.kind)
    return Evaluation(
        dataset=dataset,
        n=len(table.questions),
        unit=unit,
        rows=[method_result(name, outcomes[name], alone, base, table.stages) for name in selected],
        best_fixed=best_fixed,
        gap_closed=_gap_closed(ours, bound, base) if base else None,
        random_same_stops=_random_accuracy(table, plan, stop_shares(ours, table.stages)),
        random_same_cost=_random_accuracy(table, plan, _shares_at_cost_of(ours, outcomes, table.stages, unit)),
        scorer=quality_by_stage(scores, exists, targets),
        scorer_overall=quality(scores[exists], targets[exists]),
        aurocs={
            kind: [found.auroc for found in quality_by_stage(scores_by(kind), exists, targets)]
            for kind in study.training().kinds
            if kind != BOOSTING and reads(study, kind, computed_by)
        },
        headroom=headroom(table, plan),
        computed_by=computed_by,
        left_out=ran.left_out,
    )


def method_result(
    name: str, outcome: PricedCourse, alone: PricedCourse, best_fixed: PricedCourse | None, stages: int
) -> MethodResult:
    """Against the large model `alone`, on the same questions."""
    return MethodResult(
        name=name,
        accuracy=accuracy(outcome.right),
        difference=difference_of_means(outcome.right, alone.right),
        p_llm=mcnemar(outcome.right, alone.right),
        p_best_fixed=mcnemar(outcome.right, best_fixed.right) if best_fixed else 1.0,
        llm_tokens=float(outcome.llm_tokens.mean()),
        slm_tokens=float(outcome.slm_tokens.mean()),
        overrun_tokens=float(outcome.overrun_tokens.mean()),
        truncated=int(outcome.truncated.sum()),
        paper=float(outcome.paper.mean()),
        full=float(outcome.full.mean()),
        usd=float(outcome.usd.mean()),
        seconds=_measured(outcome.seconds),
        latency=_measured(outcome.latency),
        relative=relative_costs(outcome, alone),
        stops={"llm" if k == LLM else str(k): int((outcome.stage == k).sum()) for k in (*range(stages), LLM)},
    )


def relative_costs(outcome: PricedCourse, alone: PricedCourse) -> dict[str, Interval]:
    """In every unit and price list that can be counted."""
    both = {unit: (getattr(outcome, unit), getattr(alone, unit)) for unit in (*UNITS, *PRICE_LISTS)}
    units = [unit for unit, pair in both.items() if not np.isnan(pair).any()]
    return {unit: ratio_of_means(getattr(outcome, unit), getattr(alone, unit)) for unit in units}


def _measured(seconds: Floats) -> float | None:
    mean = float(seconds.mean())
    return None if np.isnan(mean) else mean


def _best_fixed(outcomes: Mapping[str, PricedCourse], unit: Unit) -> str | None:
    fixed = [name for name in outcomes if name == SLM_ALONE or name.startswith("fixed")]
    max_cost = float(getattr(outcomes[OURS], unit).mean())
    cheap = [name for name in fixed if getattr(outcomes[name], unit).mean() <= max_cost + _TOLERANCE]
    return max(cheap, key=lambda name: outcomes[name].right.mean()) if cheap else None


def _gap_closed(ours: PricedCourse, bound: PricedCourse, base: PricedCourse) -> Interval | None:
    def closed(rows: NDArray[np.intp]) -> float:
        gap = bound.right[rows].mean() - base.right[rows].mean()
        return float((ours.right[rows].mean() - base.right[rows].mean()) / gap) if gap > 0 else float("nan")

    return bootstrap(closed, len(ours.right)) if bound.right.sum() > base.right.sum() else None


def _random_accuracy(table: Table, plan: Plan, shares: Sequence[float]) -> Interval:
    """Accuracy of random stops: the mean over many draws, and the interval that holds 95 % of them."""
    drawn = [float(random_stops(table, plan, shares, seed).right.mean()) for seed in range(_DRAWS)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(float(np.mean(drawn)), float(low), float(high))


def _shares_at_cost_of(
    ours: PricedCourse, outcomes: Mapping[str, PricedCourse], stages: int, unit: Unit
) -> list[float]:
    """Stop shares that mix "SLM alone" and "LLM alone" at the cost of ours."""
    small, large, cost = (float(getattr(o, unit).mean()) for o in (outcomes[SLM_ALONE], outcomes[LLM_ALONE], ours))
    share = float(np.clip((large - cost) / (large - small), 0, 1))
    return [share, *[0.0] * (stages - 1)]
