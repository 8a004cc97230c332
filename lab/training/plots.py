"""The plots of the reports, as SVG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from lab.training.calibrate import Calibration
from lab.training.evaluate import Evaluation
from lab.training.fitting import LearningCurve
from lab.training.names import LLM_ALONE, ORACLE, OURS, SLM_ALONE

# Reproducible files: no dates, no random ids.
mpl.rcParams.update({"svg.hashsalt": "tandem", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
_OURS, _OTHERS, _BOUND = "#c0392b", "#2c3e50", "#95a5a6"


def cost_against_accuracy(evaluation: Evaluation, file: Path) -> None:
    """All methods; cost in the evaluation's unit relative to the LLM alone, with 95 % intervals of the accuracy."""
    axes = _axes(6.4, 4.2)
    for row in evaluation.rows:
        color = _OURS if row.name.startswith(OURS) else _BOUND if row.name.startswith(ORACLE) else _OTHERS
        x, y = 100 * row.relative[evaluation.unit].mean, 100 * row.accuracy.mean
        bars = [[y - 100 * row.accuracy.low], [100 * row.accuracy.high - y]]
        axes.errorbar(x, y, yerr=bars, fmt="o", color=color, markersize=5, elinewidth=0.6, alpha=0.9)
        axes.annotate(row.label, (x, y), xytext=(5, 3), textcoords="offset points", fontsize=7, color=color)
    ends = [row for row in evaluation.rows if row.name in (SLM_ALONE, LLM_ALONE)]
    axes.plot(
        [100 * row.relative[evaluation.unit].mean for row in ends], [100 * row.accuracy.mean for row in ends],
        ":", color=_BOUND, linewidth=1, label="random mix of both models",
    )  # fmt: skip
    axes.set_xlabel(f"cost, % of the LLM alone ({evaluation.unit})")
    axes.set_ylabel("accuracy, %")
    axes.set_title(f"{evaluation.dataset}, n = {evaluation.n}")
    axes.legend(frameon=False, loc="lower right")
    _save(axes, file)


def reliability(groups: Sequence[tuple[float, float, int]], title: str, file: Path) -> None:
    axes = _axes(3.6, 3.6)
    axes.plot([0, 1], [0, 1], ":", color=_BOUND, linewidth=1)
    axes.plot(
        [predicted for predicted, _, _ in groups],
        [observed for _, observed, _ in groups],
        "o-",
        color=_OURS,
        markersize=4,
    )
    axes.set_xlabel("score")
    axes.set_ylabel("observed share")
    axes.set_title(title)
    _save(axes, file)


def stop_stages(evaluation: Evaluation, file: Path) -> None:
    """Stages of the answers of both of our policies."""
    axes = _axes(5.0, 2.6)
    ours = [row for row in evaluation.rows if row.name.startswith(OURS)]
    labels = ["LLM's own" if stage == "llm" else f"stage {stage}" for stage in ours[0].stops]
    for index, row in enumerate(ours):
        positions = [i + 0.38 * index for i in range(len(labels))]
        axes.bar(
            positions,
            [100 * count / evaluation.n for count in row.stops.values()],
            0.36,
            label=row.label,
            color=[_OURS, _OTHERS][index % 2],
        )
    axes.set_xticks([i + 0.19 for i in range(len(labels))], labels)
    axes.set_ylabel("% of the questions")
    axes.legend(frameon=False)
    _save(axes, file)


def frontier(calibration: Calibration, file: Path) -> None:
    """Accuracy and cost of the policies of the frontier, out of fold; the chosen policy is marked."""
    axes = _axes(5.4, 3.8)
    points = calibration.frontier
    x, y = [100 * p.cost.mean for p in points], [100 * p.accuracy.mean for p in points]
    axes.fill_between(
        x, [100 * p.accuracy.low for p in points], [100 * p.accuracy.high for p in points], color=_OURS, alpha=0.12
    )
    axes.plot(x, y, "o-", color=_OURS, markersize=4, label="policies")
    chosen = calibration.policies
    axes.plot(100 * chosen.cost, 100 * chosen.accuracy, "D", color=_OTHERS, markersize=8, label="chosen")
    axes.plot(100, 100 * calibration.llm_accuracy, "s", color=_BOUND, markersize=7, label="LLM alone")
    axes.set_xlabel(f"cost, % of the LLM alone ({calibration.unit})")
    axes.set_ylabel("accuracy, %")
    axes.legend(frameon=False, loc="lower right")
    _save(axes, file)


def learning_curve(curve: LearningCurve, file: Path) -> None:
    axes = _axes(3.8, 2.8)
    points = [(n, auroc) for n, auroc, _ in curve if auroc is not None]
    axes.plot([n for n, _ in points], [auroc for _, auroc in points], "o-", color=_OURS, markersize=4)
    axes.set_xlabel("training questions")
    axes.set_ylabel("AUROC, out of fold")
    _save(axes, file)


def _axes(width: float, height: float) -> Axes:
    _, axes = plt.subplots(figsize=(width, height), layout="constrained")
    return axes


def _save(axes: Axes, file: Path) -> None:
    figure = axes.figure
    figure.savefig(file, metadata={"Date": None})  # type: ignore[union-attr]
    plt.close(figure)  # type: ignore[arg-type]
