"""What the pair saves on the engine that ships, as a table of docs/results.md and a short one in README.md: `make
savings`; and the same of the answers in int8, as another table of docs/results.md: `make report`.

`python -m lab.training.savings savings|report FOLDER DATA ...` reads FOLDER/DATA.json, which `tandem eval` wrote; a
data set without one is left out.
Each table stands between two comments, and the rest of a page stays as it is.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lab.training.lot import share_of_small
from lab.training.metrics import Interval, nothing_seen
from lab.training.names import LLM_ALONE, OURS, SLM_ALONE

_REPOSITORY = Path(__file__).parents[2]
_README, _RESULTS = _REPOSITORY / "README.md", _REPOSITORY / "docs" / "results.md"
_KINDS = {
    "humaneval": "functions, most with several examples (HumanEval)",
    "mbpp_test": "functions with one example (MBPP test)",
    "extraction": "data from texts by a JSON schema",
    "gsm8k": "school mathematics (GSM8K)",
    "math_test": "mathematics (MATH test)",
}
_SHOWN = {SLM_ALONE: "small model alone", OURS: "**Tandem**"}
_UNITS: Mapping[str, Mapping[str, str]] = {
    "savings": {"full": "`full`", "usd": "USD", "seconds": "seconds"},
    "report": {"full": "`full`", "usd_8": "USD 8:1", "usd_37": "USD 37:1"},
}
"""By the target of make: what costs are in, and its head; random routing has the price of the second."""
_SUMMED = _UNITS["savings"]
_LEAST_P = 0.001  # is shown for what is less
Figures = Mapping[str, Any]


def table(reports: Mapping[str, Figures], target: str = "savings") -> list[str]:
    """`reports` are objects of `tandem eval --json` by data set. Intervals are those of the reports, 95 %."""
    units = _UNITS[target]
    head = ["questions", "answered by", "right; less the large model's, points, and McNemar's p", *units.values()]
    rows = (row for data, figures in reports.items() for row in _rows(_kind(data, figures), figures, list(units)))
    return _lines(head, rows)


def summary(reports: Mapping[str, Figures]) -> list[str]:
    """The pair's rows alone."""
    points = ["right, less the large model's, points", "small model alone", "random routing at the pair's USD"]
    return _lines(["questions", *points, *_SUMMED.values()], map(_summed_up, reports, reports.values()))


def _summed_up(data: str, figures: Figures) -> list[str]:
    points, *costs = _against(figures, OURS, list(_SUMMED))
    small, routed = compared(figures, SLM_ALONE)["accuracy_difference"], _random(figures, list(_SUMMED))[0]
    return [_kind(data, figures), points.rpartition("; p ")[0] or points, f"{100 * small:+.1f}", routed, *costs]


def inserted(page: str, lines: list[str], target: str = "savings") -> str:
    """`page` with `lines` between the target's comments. Raises ValueError for a page without them."""
    begin, end = f"<!-- begin: make {target} -->", f"<!-- end: make {target} -->"
    found = re.sub(
        f"({re.escape(begin)}\n).*?({re.escape(end)})",
        lambda at: at[1] + "\n".join([*lines, at[2]]),
        page,
        flags=re.DOTALL,
    )
    if begin not in page or end not in page:
        raise ValueError(f"the page has no {begin} and {end}")
    return found


def _lines(head: list[str], rows: Iterable[list[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _kind(data: str, figures: Figures) -> str:
    return f"{_KINDS.get(data, data)}, n = {figures['data']['n']}"


def _rows(kind: str, figures: Figures, units: list[str]) -> Iterator[list[str]]:
    alone = figures["methods"][LLM_ALONE]
    low, high = (100 * bound for bound in alone["ci95"])
    right = f"{100 * alone['accuracy']:.1f} % [{low:.0f}, {high:.0f}]"
    yield [kind, "large model alone", right, *["100 %"] * len(units)]
    for name, shown in _SHOWN.items():
        yield ["", shown, *_against(figures, name, units)]
    yield ["", "random routing at that price", *_random(figures, units)]


def compared(figures: Figures, method: str) -> Figures:
    """With the large model alone."""
    found: Figures = next(each for each in figures["comparisons"] if each["a"] == method)
    return found


def difference(each: Figures, n: int) -> Interval:
    """Of the accuracies of a comparison over `n` questions."""
    low, high = each["ci95"]
    if low == high == 0:  # a file from before `difference_of_means` had exact bounds
        return nothing_seen(n)
    return Interval(each["accuracy_difference"], low, high)


def _against(figures: Figures, method: str, units: list[str]) -> list[str]:
    """The large model alone: points and costs."""
    each = compared(figures, method)
    costs = (each["cost_ratios"].get(unit) for unit in units)
    figure = ("" if cost is None else _percent(*cost) for cost in costs)
    return [_points(each, figures["data"]["n"]), *figure]


def _random(figures: Figures, units: list[str]) -> list[str]:
    """The same of random routing between both models at the pair's price."""
    price = units[1]
    small, ours = (compared(figures, method) for method in (SLM_ALONE, OURS))
    ratios, (usd, *_) = small["cost_ratios"], ours["cost_ratios"][price]
    share = share_of_small(usd, ratios[price][0], 1.0)
    costs = (f"{100 * (1 - share + share * ratios[unit][0]):.0f} %" if unit in ratios else "" for unit in units)
    return [f"{100 * share * small['accuracy_difference'] + 0.0:+.1f}", *costs]


def _points(each: Figures, n: int) -> str:
    if all(ratio == [1, 1, 1] for ratio in each["cost_ratios"].values()):
        return "0.0: the large model answers"
    found = difference(each, n)
    low, high = 100 * found.low, 100 * found.high
    return f"{100 * found.mean:+.1f} [{low:.1f}, {high:.1f}]; p {max(each['p_value'], _LEAST_P):.3f}"


def _percent(mean: float, low: float, high: float) -> str:
    return f"{100 * mean:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"


def main() -> None:
    target, folder, *names = sys.argv[1:]
    files = {data: Path(folder) / f"{data}.json" for data in names}
    reports = {data: json.loads(file.read_text()) for data, file in files.items() if file.is_file()}
    lines = table(reports, target)
    _RESULTS.write_text(inserted(_RESULTS.read_text(), lines, target))
    if target == "savings":
        _README.write_text(inserted(_README.read_text(), summary(reports)))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
