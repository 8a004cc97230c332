"""The picture of docs/paper.md: accuracy against cost of every method, with all thresholds that it could have had."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("svg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from lab.paper.answers import STUDY, Judged, judged
from lab.paper.methods import TESTS
from lab.training.evaluate import scores_of
from lab.training.fitting import answer_examples
from lab.training.names import LLM_ALONE, ORACLE_FINISHING, OURS, SLM_ALONE, WORDS
from lab.training.outcomes import cascade, route, tandem
from lab.training.pricing import PricedCourse
from lab.training.shepherd import AS_PREDICTED, Shepherd
from lab.training.study import CASCADE, PAPER

_STEPS = np.round(np.linspace(0, 1.001, 41), 4).tolist()
_COLORS = {
    "the paper's rule, from stage 0": "#8e44ad",
    "LLM Shepherding": "#27ae60",
    "cascade": "#d35400",
    "router": "#2980b9",
}
_POINTS = {LLM_ALONE: "LLM", SLM_ALONE: "SLM", OURS: "tandem", ORACLE_FINISHING: "oracle"}


def draw(file: Path) -> None:
    """Write an SVG file; the same answers give the same bytes."""
    with mpl.rc_context({"svg.hashsalt": "tandem", "svg.fonttype": "none", "font.size": 9}):
        figure, plots = plt.subplots(2, 2, figsize=(9.6, 7.2), layout="constrained")
        for axes, (test, title) in zip(plots.flat, TESTS.items(), strict=True):
            answered = judged(test)
            _panel(axes, answered)
            axes.set_title(f"{title}, n = {len(answered.found.table.questions)}")
        plots[0, 0].legend(frameon=False, fontsize=7, loc="lower right")
        figure.supxlabel("cost, % of the large model alone (full)")
        figure.supylabel("right, %")
        figure.savefig(file, metadata={"Date": None})
        plt.close(figure)


def _panel(axes: Axes, answered: Judged) -> None:
    alone = float(answered.outcomes[LLM_ALONE].full.mean())
    for (name, color), outcomes in zip(_COLORS.items(), _swept(answered), strict=True):
        front = sorted((100 * float(o.full.mean()) / alone, 100 * float(o.right.mean())) for o in outcomes)
        axes.plot([x for x, _ in front], [y for _, y in front], "-", color=color, linewidth=1.2, label=name)
    ends = [answered.outcomes[name] for name in (SLM_ALONE, LLM_ALONE)]
    axes.plot(
        [100 * float(o.full.mean()) / alone for o in ends], [100 * float(o.right.mean()) for o in ends],
        ":", color="#95a5a6", linewidth=1, label="both models at random",
    )  # fmt: skip
    for name, shown in _POINTS.items():
        point = (
            100 * float(answered.outcomes[name].full.mean()) / alone,
            100 * float(answered.outcomes[name].right.mean()),
        )
        axes.plot(*point, "o", color="#c0392b" if name == OURS else "#2c3e50", markersize=5)
        axes.annotate(shown, point, xytext=(4, 4), textcoords="offset points", fontsize=7)
    axes.spines[["top", "right"]].set_visible(False)


def _swept(answered: Judged) -> list[list[PricedCourse]]:
    """In the order of _COLORS. The paper's rule has one threshold for all stages, Shepherding asks for the predicted
    length.
    """
    table, plan = answered.found.table, answered.found.plan
    own = STUDY.artefact(CASCADE).network.probabilities(answer_examples(table).batch)
    paper = scores_of(STUDY.artefact(PAPER), table)
    words = scores_of(STUDY.artefact(WORDS), table)[:, 0]
    hints = STUDY.hints().predict(table)
    methods: Sequence[Callable[[float], PricedCourse]] = (
        lambda t: tandem(table, plan, paper, [t] * table.stages, llm_finishes=False),
        lambda t: Shepherd(t, AS_PREDICTED.factor).run(table, plan, hints, own),
        lambda t: cascade(table, plan, own, t),
        lambda t: route(table, plan, words, t),
    )
    return [[method(threshold) for threshold in _STEPS] for method in methods]
