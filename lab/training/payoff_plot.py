"""The picture of `tandem plan`: expected saving by cost ratio and AUROC, and where the pair stands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt
import numpy as np

from lab.training.table import Floats
from tandem.planning.payoff import Pair, least

_RATIOS = np.geomspace(1, 100, 21)
_AUROCS = np.linspace(0.5, 1.0, 17)
_LEVELS = list(range(0, 101, 10))


def savings(pair: Pair, ratios: Floats, aurocs: Floats) -> Floats:
    """float64[aurocs, ratios], percent of the large model's cost.

    The small model's other costs change with its answer's; the score of the question keeps its distance to that of the
    answer.
    """
    return np.array([[100 * (1 - least(_moved(pair, ratio, auroc))) for ratio in ratios] for auroc in aurocs])


def draw(pair: Pair, file: Path) -> None:
    """Write an SVG file. The same pair gives the same bytes."""
    with mpl.rc_context({"svg.hashsalt": "tandem", "svg.fonttype": "none", "font.size": 9}):
        figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
        found = savings(pair, _RATIOS, _AUROCS)
        filled = axes.contourf(_RATIOS, _AUROCS, found, levels=_LEVELS, cmap="YlGn")
        lines = axes.contour(_RATIOS, _AUROCS, found, levels=_LEVELS[1:-1], colors="#2c3e50", linewidths=0.5)
        axes.clabel(lines, fmt="%d %%", fontsize=7)
        ratio = float(np.clip(1 / pair.answer, _RATIOS[0], _RATIOS[-1]))
        axes.plot(ratio, pair.score.auroc, "D", color="#c0392b", markersize=8, clip_on=False)
        note = f"this pair: {100 * (1 - least(pair)):.0f} %"
        axes.annotate(note, (ratio, pair.score.auroc), xytext=(8, 8), textcoords="offset points", color="#c0392b")
        axes.set_xscale("log")
        axes.set_xticks([1, 2, 5, 10, 20, 50, 100], ["1", "2", "5", "10", "20", "50", "100"])
        axes.set_xlabel("cost of a large answer : cost of a small answer")
        axes.set_ylabel("AUROC of the score of the small model's answer")
        axes.set_title(f"expected saving; small {pair.small:.0%}, large {pair.large:.0%} right")
        figure.colorbar(filled, label="saving, % of the large model alone")
        figure.savefig(file, metadata={"Date": None})
        plt.close(figure)


def _moved(pair: Pair, ratio: float, auroc: float) -> Pair:
    early = pair.early
    if early.auroc > 0.5:
        early = replace(early, auroc=float(np.clip(early.auroc + auroc - pair.score.auroc, 0.5, 1.0)))
    return replace(pair.cheaper(ratio * pair.answer), score=replace(pair.score, auroc=auroc), early=early)
