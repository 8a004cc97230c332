"""`tandem eval` of tasks with tools: every way to decide, whole and by category, as the JSON that other evaluations
have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lab.calls.answers import CallTable
from lab.calls.methods import LABELS, CallPolicy, Scores, run_methods
from lab.calls.mixes import COSTS, Mix, mixes_of
from lab.calls.training import auroc_interval
from lab.training.evaluate import MethodResult, method_result
from lab.training.figures import Data, Figures, comparisons_of, methods_of
from lab.training.lot import share_of_small
from lab.training.metrics import Interval, bootstrap
from lab.training.names import LLM_ALONE, OURS, SLM_ALONE
from lab.training.pricing import PricedCourse
from lab.training.table import Bools, Floats, Rows
from tandem.method.evidence.call_evidence import CALL_NAMES
from tandem.method.request.plan import Plan

_UNITS = {"full": "`full`", "usd_8": "USD 8:1", "usd_37": "USD 37:1", "seconds": "seconds"}


@dataclass(frozen=True)
class Evaluation:
    """`whole`: by method, over all tasks; `parts`: the same by category; `lot`: what the scorer must beat;
    `mixes`: the policy where the tasks are mixed otherwise.
    """

    table: CallTable
    whole: list[MethodResult]
    parts: dict[str, list[MethodResult]]
    lot: Lot
    mixes: list[Mix]


@dataclass(frozen=True)
class Lot:
    """The small model alone answers a `share` of the tasks, drawn by lot, and the large one the others, at the price of
    the scorer `calls` (USD 8:1). `ours_less`: what the scorer's answers are right more, with a paired 95 % interval.
    """

    share: float
    accuracy: float
    ours_less: Interval


def evaluate(
    table: CallTable, plan: Plan, scores: Scores, policy: CallPolicy, mixes: Sequence[float] = ()
) -> Evaluation:
    outcomes = run_methods(table, plan, scores, policy)
    categories = sorted(set(table.categories.tolist()))
    parts = {name: _results(outcomes, table.categories == name) for name in categories}
    return Evaluation(
        table,
        _results(outcomes, np.ones(len(table), bool)),
        parts,
        _lot(outcomes),
        mixes_of(table.none_fits, outcomes, mixes),
    )


def _lot(outcomes: Mapping[str, PricedCourse]) -> Lot:
    ours, small, large = (outcomes[name] for name in (OURS, SLM_ALONE, LLM_ALONE))

    def share(rows: Rows) -> float:
        return share_of_small(*(float(each.usd_8[rows].mean()) for each in (ours, small, large)))

    def accuracy(rows: Rows) -> float:
        return float(large.right[rows].mean() + share(rows) * (small.right[rows].mean() - large.right[rows].mean()))

    whole = np.arange(len(ours.right))
    less = bootstrap(lambda rows: float(ours.right[rows].mean()) - accuracy(rows), len(whole))
    return Lot(share(whole), accuracy(whole), less)


def _results(outcomes: Mapping[str, PricedCourse], rows: Bools) -> list[MethodResult]:
    alone = outcomes[LLM_ALONE].take(rows)
    return [method_result(name, outcome.take(rows), alone, None, 1) for name, outcome in outcomes.items()]


def as_contract(found: Evaluation, profile: str, path: str, sha256: str, computed_by: str) -> dict[str, Any]:
    """The JSON of `tandem eval --json`; `categories` has methods and comparisons of each."""
    whole = Figures(
        profile=profile,
        data=Data(path, sha256, len(found.table)),
        methods=methods_of(found.whole, len(found.table)),
        comparisons=comparisons_of(found.whole),
        auroc_by_stage={},
        headroom=[],
        computed_by=computed_by,
        left_out={},
    )
    sizes = {name: int((found.table.categories == name).sum()) for name in found.parts}
    parts = {
        name: {
            "n": sizes[name],
            "methods": {key: asdict(each) for key, each in methods_of(rows, sizes[name]).items()},
            "comparisons": [asdict(each) for each in comparisons_of(rows)],
        }
        for name, rows in found.parts.items()
    }
    return {
        **asdict(whole),
        "categories": parts,
        "evidence": [asdict(each) for each in evidence(found.table)],
        "lot": asdict(found.lot),
        "mixes": [asdict(each) for each in found.mixes],
    }


def lines(found: Evaluation) -> list[str]:
    """Tables of Markdown: every method over all tasks, and points against the large model by category; then the
    mixes.
    """
    sizes = [f"{name} ({int((found.table.categories == name).sum())})" for name in found.parts]
    head = ["answered by", "right", "less the large model's, points", "McNemar's p", *_UNITS.values(), *sizes]
    rows = [
        [
            LABELS[row.name],
            f"{100 * row.accuracy.mean:.1f} %",
            _points(row),
            "" if row.name == LLM_ALONE else f"{max(row.p_llm, 0.001):.3f}",
            *(_percent(row, unit) for unit in _UNITS),
            *(f"{100 * part[place].difference.mean:+.1f}" for part in found.parts.values()),
        ]
        for place, row in enumerate(found.whole)
    ]
    rows.insert([row.name for row in found.whole].index(OURS) + 1, _lot_row(found))
    return [*_markdown(head, rows), *(["", *_mix_lines(found.mixes)] if found.mixes else [])]


def _lot_row(found: Evaluation) -> list[str]:
    """It mixes the rows of both models alone."""
    of_small = [row.name for row in found.whole].index(SLM_ALONE)
    small, share = found.whole[of_small], found.lot.share
    costs = [
        100 * (1 - share + share * small.relative[unit].mean) if unit in small.relative else None for unit in _UNITS
    ]
    return [
        f"by lot at that price (`calls` less it: {_points_of(found.lot.ours_less)})",
        f"{100 * found.lot.accuracy:.1f} %",
        f"{100 * share * small.difference.mean:+.1f}",
        "",
        *("" if cost is None else f"{cost:.0f} %" for cost in costs),
        *(f"{100 * share * part[of_small].difference.mean:+.1f}" for part in found.parts.values()),
    ]


def _mix_lines(mixes: Sequence[Mix]) -> list[str]:
    costs = [_UNITS[unit] for unit in COSTS]
    head = ["no tool fits in", "large model right", "small model alone, points", "`calls`, points", *costs]
    rows = [
        [
            f"{mix.share:.0%}",
            f"{100 * mix.large:.1f} %",
            *map(_points_of, (mix.small_more, mix.ours_more)),
            *(_percent_of(mix.relative[unit]) for unit in COSTS),
        ]
        for mix in mixes
    ]
    return _markdown(head, rows)


def _points(row: MethodResult) -> str:
    return "" if row.name == LLM_ALONE else _points_of(row.difference)


def _percent(row: MethodResult, unit: str) -> str:
    return _percent_of(row.relative[unit]) if unit in row.relative else ""


def _points_of(found: Interval) -> str:
    return f"{100 * found.mean:+.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def _percent_of(found: Interval) -> str:
    return f"{100 * found.mean:.0f} % [{100 * found.low:.0f}, {100 * found.high:.0f}]"


@dataclass(frozen=True)
class Evidence:
    """How well one thing tells right answers of the small model from wrong ones, among `of`: answers with calls, or
    texts without.
    `auroc` with its 95 % interval over tasks; None where all have the same outcome. `right`: their share.
    """

    of: str
    name: str
    n: int
    right: float
    auroc: tuple[float, float, float] | None


def evidence(table: CallTable, trained: Floats | None = None, routed: Floats | None = None) -> list[Evidence]:
    """Each by itself has a direction and nothing that is fitted. `trained` and `routed`: scores out of fold."""

    def found(of: str, name: str, values: Floats, rows: Bools) -> Evidence:
        rows = rows & ~np.isnan(values)
        right = table.slm.right[rows]
        share = float(right.mean()) if len(right) else 0.0
        return Evidence(of, name, int(rows.sum()), share, auroc_interval(values[rows], right))

    return [
        *(found("calls", label, read(table), table.has_calls) for label, read in _OF_CALLS.items()),
        *(found("calls", name, values, table.has_calls) for name, values in _fitted(trained, routed)),
        *(found("texts", label, read(table), table.is_text) for label, read in _OF_TEXTS.items()),
        *(found("texts", name, values, table.is_text) for name, values in _fitted(trained, routed)),
    ]


def _fitted(trained: Floats | None, routed: Floats | None) -> list[tuple[str, Floats]]:
    named = (("scorer `calls`, out of fold", trained), ("the prompt's words, out of fold", routed))
    return [(name, values) for name, values in named if values is not None]


def evidence_lines(found: Sequence[Evidence]) -> list[str]:
    rows = [[each.of, each.name, str(each.n), f"{each.right:.0%}", _interval(each.auroc)] for each in found if each.n]
    return _markdown(["the small model's", "evidence", "n", "right", "AUROC"], rows)


def _interval(auroc: tuple[float, float, float] | None) -> str:
    return f"{auroc[0]:.2f} [{auroc[1]:.2f}, {auroc[2]:.2f}]" if auroc else "all alike"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _column(name: str, sign: float = 1.0) -> Callable[[CallTable], Floats]:
    assert name in CALL_NAMES
    return lambda table: sign * table.column(name)


_OF_CALLS: dict[str, Callable[[CallTable], Floats]] = {
    "mean log-probability": _column("mean"),
    "least certain token": _column("least"),
    "first token (to call)": _column("opening"),
    "last token (to end)": _column("ending"),
    "tools' names, mean": _column("name_mean"),
    "tools' names, least": _column("name_least"),
    "arguments' names, least": _column("key_least"),
    "numbers, mean": _column("number_mean"),
    "numbers, least": _column("number_least"),
    "free texts, mean": _column("text_mean"),
    "free texts, least": _column("text_least"),
    "offered values and literals, least": _column("choice_least"),
    "values that the prompt has": _column("grounded"),
    "few arguments": _column("arguments", -1.0),
    "follows the schema": lambda table: table.valid.astype(float),
    "samples that agree": lambda table: table.agree,
}
_OF_TEXTS: dict[str, Callable[[CallTable], Floats]] = {
    "mean log-probability": _column("mean"),
    "least certain token": _column("least"),
    "first token (not to call)": _column("opening"),
    "short": _column("tokens", -1.0),
    "samples that call nothing": lambda table: table.agree,
}
