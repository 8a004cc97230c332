"""The picture of docs/pairs.md: what each pair costs by what it may lose."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from lab.pairs.facts import RealPair
from lab.pairs.rules import HALVES, Promised

_TITLES = {"humaneval": "HumanEval", "livecodebench_leetcode": "LiveCodeBench (LeetCode)"}
_COLORS = "#c0392b", "#2c3e50", "#2980b9", "#27ae60", "#8e44ad", "#d35400", "#7f8c8d", "#16a085"


def draw(found: Sequence[tuple[RealPair, Sequence[Promised]]], file: Path) -> None:
    """Write an SVG file; the same figures give the same bytes."""
    with mpl.rc_context({"svg.hashsalt": "tandem", "svg.fonttype": "none", "font.size": 9}):
        figure, axes = plt.subplots(1, len(_TITLES), figsize=(9.6, 4.6), layout="constrained", sharey=True)
        for plot, (data, title) in zip(axes, _TITLES.items(), strict=True):
            _lines(plot, [each for each in found if each[0].data == data])
            plot.set_title(title)
            plot.spines[["top", "right"]].set_visible(False)
            plot.set_xlabel("promised: points of accuracy lost at most (95 %)")
        axes[0].set_ylabel(f"cost, % of the large model alone, mean of {HALVES} halves")
        figure.savefig(file, metadata={"Date": None})
        plt.close(figure)


def _lines(axes: Axes, found: Sequence[tuple[RealPair, Sequence[Promised]]]) -> None:
    for (pair, points), color in zip(found, cycle(_COLORS), strict=False):
        x = [100 * point.promise.lose_at_most for point in points]
        axes.plot(x, [100 * point.cost for point in points], "o-", color=color, markersize=3, label=pair.name)
    axes.axhline(100, color="#95a5a6", linestyle=":", linewidth=1)
    axes.set_ylim(0, 108)
    axes.legend(frameon=False, fontsize=7, loc="lower left")
