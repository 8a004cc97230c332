"""What the pair saves on the engine that ships, as a table of docs/benchmarks.md and a short one in README.md: `make
savings`.

`python -m lab.training.savings REPORT DATA ...` reads REPORT/DATA.json, which `tandem eval` wrote; a data set without
one is left out.
The table stands between two comments, and the rest of a page stays as it is.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lab.training.lot import share_of_small
from lab.training.metrics import nothing_seen
from lab.training.names import LLM_ALONE, OURS, SLM_ALONE

_REPOSITORY = Path(__file__).parents[2]
_README, _BENCHMARKS = _REPOSITORY / "README.md", _REPOSITORY / "docs" / "benchmarks.md"
BEGIN, END = "<!-- begin: make savings -->", "<!-- end: make savings -->"
_KINDS = {
    "humaneval": "functions, most with several examples (HumanEval)",
    "mbpp_test": "functions with one example (MBPP test)",
    "extraction": "data from texts by a JSON schema",
}
_SHOWN = {SLM_ALONE: "small model alone", OURS: "**Tandem**"}
_UNITS = ("full", "usd", "seconds")
_LEAST_P = 0.001  # is shown for what is less
Figures = Mapping[str, Any]


def table(reports: Mapping[str, Figures]) -> list[str]:
    """`reports` are objects of `tandem eval --json` by data set. Intervals are those of the reports, 95 %."""
    head = [
        "questions",
        "answered by",
        "right; less the large model's, points, and McNemar's p",
        "`full`",
        "USD",
        "seconds",
    ]
    return _lines(head, (row for data, figures in reports.items() for row in _rows(_kind(data, figures), figures)))


def summary(reports: Mapping[str, Figures]) -> list[str]:
    """The pair's rows alone."""
    points = ["right, less the large model's, points", "small model alone", "by lot at the pair's USD"]
    return _lines(["questions", *points, "`full`", "USD", "seconds"], map(_summed_up, reports, reports.values()))


def _summed_up(data: str, figures: Figures) -> list[str]:
    points, *costs = _against(figures, OURS)
    small, lot = _compared(figures, SLM_ALONE)["accuracy_difference"], _lot(figures)[0]
    return [_kind(data, figures), points.rpartition("; p ")[0] or points, f"{100 * small:+.1f}", lot, *costs]


def inserted(page: str, lines: list[str]) -> str:
    """`page` with `lines` between the comments. Raises ValueError for a page without them."""
    found = re.sub(
        f"({re.escape(BEGIN)}\n).*?({re.escape(END)})",
        lambda at: at[1] + "\n".join([*lines, at[2]]),
        page,
        flags=re.DOTALL,
    )
    if BEGIN not in page or END not in page:
        raise ValueError(f"the page has no {BEGIN} and {END}")
    return found


def _lines(head: list[str], rows: Iterable[list[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _kind(data: str, figures: Figures) -> str:
    return f"{_KINDS.get(data, data)}, n = {figures['data']['n']}"


def _rows(kind: str, figures: Figures) -> Iterator[list[str]]:
    alone = figures["methods"][LLM_ALONE]
    low, high = (100 * bound for bound in alone["ci95"])
    right = f"{100 * alone['accuracy']:.1f} % [{low:.0f}, {high:.0f}]"
    yield [kind, "large model alone", right, *["100 %"] * len(_UNITS)]
    for name, shown in _SHOWN.items():
        yield ["", shown, *_against(figures, name)]
    yield ["", "by lot at that price", *_lot(figures)]


def _compared(figures: Figures, method: str) -> Figures:
    """With the large model alone."""
    found: Figures = next(each for each in figures["comparisons"] if each["a"] == method)
    return found


def _against(figures: Figures, method: str) -> list[str]:
    """The large model alone: points and costs."""
    each = _compared(figures, method)
    costs = (each["cost_ratios"].get(unit) for unit in _UNITS)
    figure = ("" if cost is None else _percent(*cost) for cost in costs)
    return [_points(each, figures["data"]["n"]), *figure]


def _lot(figures: Figures) -> list[str]:
    """The same of a lot between both models at the pair's USD."""
    small, ours = (_compared(figures, method) for method in (SLM_ALONE, OURS))
    ratios, (usd, *_) = small["cost_ratios"], ours["cost_ratios"]["usd"]
    share = share_of_small(usd, ratios["usd"][0], 1.0)
    costs = (f"{100 * (1 - share + share * ratios[unit][0]):.0f} %" if unit in ratios else "" for unit in _UNITS)
    return [f"{100 * share * small['accuracy_difference'] + 0.0:+.1f}", *costs]


def _points(each: Figures, n: int) -> str:
    if all(ratio == [1, 1, 1] for ratio in each["cost_ratios"].values()):
        return "0.0: the large model answers"
    low, high = (100 * bound for bound in each["ci95"])
    if low == high == 0:  # a report from before `difference_of_means` had exact bounds
        low, high = (100 * bound for bound in (nothing_seen(n).low, nothing_seen(n).high))
    return f"{100 * each['accuracy_difference']:+.1f} [{low:.1f}, {high:.1f}]; p {max(each['p_value'], _LEAST_P):.3f}"


def _percent(mean: float, low: float, high: float) -> str:
    return f"{100 * mean:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"


def main() -> None:
    report = Path(sys.argv[1])
    files = {data: report / f"{data}.json" for data in sys.argv[2:]}
    reports = {data: json.loads(file.read_text()) for data, file in files.items() if file.is_file()}
    for page, lines in ((_README, summary(reports)), (_BENCHMARKS, table(reports))):
        page.write_text(inserted(page.read_text(), lines))
    print("\n".join(table(reports)))


if __name__ == "__main__":
    main()
