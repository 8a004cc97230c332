"""Pictures of results: all of lab/bench/results as one, by `tandem bench report`; or how pods followed the load on the
test cluster, from what `make e2e-k8s` wrote, by `python -m lab.bench.drawing scaling`, as docs/scaling.svg.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt

from lab.bench.common import RESULTS
from tandem.paths import REPOSITORY

__all__ = ["main", "plt"]  # with the style of every picture of the benches
mpl.rcParams.update({"svg.hashsalt": "tandem", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})


def main() -> None:
    file = _scaling() if sys.argv[1:] == ["scaling"] else _report()
    print(file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file)


def _report() -> Path:
    results = {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}
    rows = [(f"{name}: {label}", spread) for name, result in results.items() for label, spread in _spreads(result)]
    figure, axes = plt.subplots(figsize=(8, 0.32 * len(rows) + 1), layout="constrained")
    for row, (_, spread) in enumerate(reversed(rows)):
        axes.plot([spread["p50"], spread["p99"]], [row, row], color="#2c3e50", linewidth=2)
        axes.plot(spread["p50"], row, "o", color="#c0392b", markersize=5)
    axes.set_yticks(range(len(rows)), [label for label, _ in reversed(rows)])
    axes.set_xscale("symlog")
    axes.set_xlabel("median (dot) to 99th percentile; milliseconds, or tokens where the label says so")
    return _saved(figure, RESULTS / "report.svg")


def _spreads(result: Any, path: str = "") -> list[tuple[str, dict[str, float]]]:
    """Every object in a result that has a median and a 99th percentile, with its path as label."""
    if not isinstance(result, dict):
        return []
    if "p50" in result and "p99" in result:
        return [(f"{path} (n = {result['n']})", result)]
    return [found for key, value in result.items() for found in _spreads(value, f"{path} {key}".strip())]


def _scaling() -> Path:
    """Three pictures above each other, over the seconds."""
    table = json.loads((RESULTS / "k8s-scaling.json").read_text())
    seconds, requests = table["seconds"], table["requests"]
    x = [second["at"] for second in seconds]
    figure, (load, pods, times) = plt.subplots(3, figsize=(8, 7), sharex=True, layout="constrained")
    load.plot(x, [second["waiting_tasks"] for second in seconds], label="tasks that wait for a worker")
    load.plot(x, [second["small_model_requests"] for second in seconds], label="requests in the small model")
    load.set_ylabel("backlog")
    load.legend(fontsize=7)
    for component in seconds[0]["ready"]:
        pods.step(x, [second["ready"][component] for second in seconds], where="post", label=component)
    pods.set_ylabel("ready pods")
    pods.legend(fontsize=7)
    times.plot([each["at"] for each in requests], [each["seconds"] for each in requests], ".", markersize=3)
    times.set_ylabel("seconds of a request")
    times.set_xlabel("seconds; a request stands where it began")
    for axes in (load, pods, times):
        axes.set_ylim(bottom=0)
    return _saved(figure, REPOSITORY / "docs" / "scaling.svg")


def _saved(figure: Any, file: Path) -> Path:
    figure.savefig(file, metadata={"Date": None})
    return file


if __name__ == "__main__":
    main()
