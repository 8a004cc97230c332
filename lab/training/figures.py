"""The JSON of `tandem eval`: stable keys that programs rely on. Tokens, TFLOPs, USD and seconds are means per
question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from lab.training.names import LLM_ALONE

if TYPE_CHECKING:
    from lab.training.evaluate import Evaluation, Headroom, MethodResult


@dataclass(frozen=True)
class Data:
    path: str
    sha256: str
    n: int


@dataclass(frozen=True)
class MethodFigures:
    accuracy: float
    ci95: list[float]
    n: int
    truncated: int
    llm_tokens: float
    slm_tokens: float
    overrun_tokens: float
    tflops_paper: float
    tflops_full: float
    usd: float
    seconds: float | None
    latency: float | None
    stop_stages: dict[str, int]

    @classmethod
    def of(cls, row: MethodResult, n: int) -> MethodFigures:
        return cls(
            accuracy=row.accuracy.mean,
            ci95=[row.accuracy.low, row.accuracy.high],
            n=n,
            truncated=row.truncated,
            llm_tokens=row.llm_tokens,
            slm_tokens=row.slm_tokens,
            overrun_tokens=row.overrun_tokens,
            tflops_paper=row.paper,
            tflops_full=row.full,
            usd=row.usd,
            seconds=row.seconds,
            latency=row.latency,
            stop_stages=row.stops,
        )


@dataclass(frozen=True)
class Comparison:
    """Method `a` against method `b`, paired over questions. `cost_ratios`: mean and 95 % interval by unit and price
    list.
    """

    a: str
    b: str
    accuracy_difference: float
    ci95: list[float]
    p_value: float
    cost_ratio_paper: float
    cost_ratio_full: float
    cost_ratios: dict[str, list[float]]

    @classmethod
    def with_llm_alone(cls, row: MethodResult) -> Comparison:
        return cls(
            a=row.name,
            b=LLM_ALONE,
            accuracy_difference=row.difference.mean,
            ci95=[row.difference.low, row.difference.high],
            p_value=row.p_llm,
            cost_ratio_paper=row.relative["paper"].mean,
            cost_ratio_full=row.relative["full"].mean,
            cost_ratios={unit: [found.mean, found.low, found.high] for unit, found in row.relative.items()},
        )


@dataclass(frozen=True)
class Figures:
    profile: str
    data: Data
    methods: dict[str, MethodFigures]
    comparisons: list[Comparison]
    auroc_by_stage: dict[str, list[float | None]]
    headroom: list[Headroom]
    computed_by: str
    left_out: dict[str, str]


def as_contract(evaluation: Evaluation, profile: str, path: str, sha256: str) -> dict[str, object]:
    """`evaluation` as the JSON object that `tandem eval --json` writes."""
    figures = Figures(
        profile=profile,
        data=Data(path, sha256, evaluation.n),
        methods=methods_of(evaluation.rows, evaluation.n),
        comparisons=comparisons_of(evaluation.rows),
        auroc_by_stage=evaluation.aurocs,
        headroom=evaluation.headroom,
        computed_by=evaluation.computed_by,
        left_out=evaluation.left_out,
    )
    return asdict(figures)


def methods_of(rows: Sequence[MethodResult], n: int) -> dict[str, MethodFigures]:
    """By name, of `n` questions."""
    return {row.name: MethodFigures.of(row, n) for row in rows}


def comparisons_of(rows: Sequence[MethodResult]) -> list[Comparison]:
    """Each but the large model alone, with it."""
    return [Comparison.with_llm_alone(row) for row in rows if row.name != LLM_ALONE]
