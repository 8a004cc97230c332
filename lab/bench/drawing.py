"""Draw all results of lab/bench/results as one picture: `tandem bench report`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt

from lab.bench.common import RESULTS

__all__ = ["main", "plt"]  # with the style of every picture of the benches
mpl.rcParams.update({"svg.hashsalt": "tandem", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})


def main() -> None:
    results = {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}
    rows = [(f"{name}: {label}", spread) for name, result in results.items() for label, spread in _spreads(result)]
    figure, axes = plt.subplots(figsize=(8, 0.32 * len(rows) + 1), layout="constrained")
    for row, (_, spread) in enumerate(reversed(rows)):
        axes.plot([spread["p50"], spread["p99"]], [row, row], color="#2c3e50", linewidth=2)
        axes.plot(spread["p50"], row, "o", color="#c0392b", markersize=5)
    axes.set_yticks(range(len(rows)), [label for label, _ in reversed(rows)])
    axes.set_xscale("symlog")
    axes.set_xlabel("median (dot) to 99th percentile; milliseconds, or tokens where the label says so")
    file = RESULTS / "report.svg"
    figure.savefig(file, metadata={"Date": None})
    print(file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file)


def _spreads(result: Any, path: str = "") -> list[tuple[str, dict[str, float]]]:
    """Every object in a result that has a median and a 99th percentile, with its path as label."""
    if not isinstance(result, dict):
        return []
    if "p50" in result and "p99" in result:
        return [(f"{path} (n = {result['n']})", result)]
    return [found for key, value in result.items() for found in _spreads(value, f"{path} {key}".strip())]


if __name__ == "__main__":
    main()
