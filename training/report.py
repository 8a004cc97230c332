"""The report of an evaluation in Markdown, with its pictures beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from services.sufficiency_scorer.description import Quality
from training import plots
from training.evaluate import Evaluation, MethodResult
from training.methods import LLM_ALONE, ORACLE_FINISHING, OURS, display_name
from training.metrics import Interval
from training.study import Study, Training

_LABELS = {
    "nothing_lost": "stopping would lose nothing (the small model is right, or the large one is not either)",
    "right": "the small model would answer right",
}


def write_report(evaluation: Evaluation, study: Study, folder: Path) -> Path:
    """`folder`/DATASET.md and three pictures. Returns the report."""
    folder.mkdir(parents=True, exist_ok=True)
    name = evaluation.dataset.split(":")[0]
    plots.cost_against_accuracy(evaluation, folder / f"{name}-cost.svg")
    plots.reliability(evaluation.reliability, f"{evaluation.dataset}", folder / f"{name}-reliability.svg")
    plots.stop_stages(evaluation, folder / f"{name}-stops.svg")
    report = folder / f"{name}.md"
    report.write_text("\n".join([*_lines(evaluation, study, name), ""]))
    return report


def _lines(evaluation: Evaluation, study: Study, name: str) -> list[str]:
    training, policies = study.training(), study.policies()
    ours, alone = evaluation.row(OURS), evaluation.row(LLM_ALONE)
    return [
        f"# {evaluation.dataset}: {evaluation.n} questions",
        "",
        f"Pair and prompts: profile `{training.profile}`. Scorer: `{policies.served.kind}`, trained to tell whether "
        f"{_LABELS[training.label]}, on {len(training.questions) + len(training.more_questions)} questions of "
        f"{_sources(training)}. Objective of the calibration: {policies.objective}. "
        "No question here was used to train or to calibrate.",
        "",
        f"- **{OURS}**: {_percent(ours.accuracy)} right, the LLM alone {_percent(alone.accuracy)}; paired difference "
        f"{_points(ours.difference)} points (McNemar p = {ours.p_llm:.3f}).",
        f"- Cost of the LLM alone's: {_percent(ours.relative_full)} `full`, {_percent(ours.relative_paper)} `paper`, "
        f"{_percent(ours.relative_usd)} in USD.",
        f"- Its stops dealt to random questions: {_percent(evaluation.random_same_stops)} right. The two models alone, at "
        f"random, at the same `full` cost: {_percent(evaluation.random_same_cost)}.",
        _gap(evaluation),
        f"- The scorer here: AUROC {_auroc(evaluation.scorer_overall)} over all stages, ECE "
        f"{evaluation.scorer_overall.ece:.3f}, Brier {evaluation.scorer_overall.brier:.3f}.",
        "",
        f"![cost against accuracy]({name}-cost.svg)",
        "",
        *_table(evaluation.rows),
        "",
        "Intervals are of 95 %: Wilson's for accuracies, paired bootstrap over questions for differences and costs. `paper` "
        "and `full` are TFLOPs per question (METHOD of the paper, and everything that was computed: prefill, scoring passes, "
        "reading ahead, overrun), with their share of the LLM alone's. Cascade, router and ours were tuned by the same objective.",
        "",
        "## Where the answers come from",
        "",
        f"![stop stages]({name}-stops.svg)",
        "",
        "## The scorer on these questions",
        "",
        f"![reliability]({name}-reliability.svg)",
        "",
        f"| stage | n | {training.label.replace('_', ' ')} | AUROC | ECE | Brier |",
        "|---|---|---|---|---|---|",
        *(_quality_row(str(stage), found) for stage, found in enumerate(evaluation.scorer)),
        _quality_row("all", evaluation.scorer_overall),
        "",
        "AUROC of every kind of scorer that was trained, for the record; which one is served was chosen on training questions:",
        "",
        *_aurocs(evaluation.aurocs),
        "",
        "## What a better scorer would bring",
        "",
        "The least `full` cost at the LLM's accuracy if the bare questions were scored for nothing by a scorer of this AUROC, with "
        "the best threshold for these very questions (200 draws of scores made of the truth and noise):",
        "",
        *_headroom(evaluation),
    ]


def _aurocs(found: Mapping[str, list[float | None]]) -> list[str]:
    stages = range(max(map(len, found.values())))
    head = " | ".join(["kind", *(f"stage {stage}" for stage in stages)])
    rows = [
        f"| {kind} | {' | '.join('–' if a is None else f'{a:.2f}' for a in each)} |" for kind, each in found.items()
    ]
    return [f"| {head} |", "|---" * (len(stages) + 1) + "|", *rows]


def _headroom(evaluation: Evaluation) -> list[str]:
    found = evaluation.headroom
    limit = evaluation.row(ORACLE_FINISHING)
    return [
        f"| AUROC | {' | '.join(f'{each.auroc:.1f}' for each in found)} | oracle over all stages |",
        "|---" * (len(found) + 2) + "|",
        f"| cost | {' | '.join(f'{each.cost:.0%}' for each in found)} | {limit.relative_full.mean:.0%}, "
        f"{limit.difference.mean * 100:+.0f} points |",
    ]


def _gap(evaluation: Evaluation) -> str:
    if evaluation.best_fixed is None or evaluation.gap_closed is None:
        return "- No fixed stage costs as little as ours."
    p = evaluation.row(OURS).p_best_fixed
    return (
        f"- Best fixed stage at no more cost: {display_name(evaluation.best_fixed)} (McNemar against ours p = {p:.3f}). Oracle gap closed: "
        f"{_percent(evaluation.gap_closed)}."
    )


def _table(rows: list[MethodResult]) -> list[str]:
    head = "way to answer | accuracy % | less LLM, points | p | LLM tokens | SLM tokens | paper | full | USD/1000 | cut off"
    return [f"| {head} |", "|" + "---|" * 10, *(_row(row) for row in rows)]


def _row(row: MethodResult) -> str:
    cells = [
        f"**{row.label}**" if row.name == OURS else row.label,
        _percent(row.accuracy),
        _points(row.difference),
        f"{row.p_llm:.3f}",
        f"{row.llm_tokens:.0f}" + (f" + {row.overrun_tokens:.1f}" if row.overrun_tokens else ""),
        f"{row.slm_tokens:.0f}",
        f"{row.paper:.3f} ({row.relative_paper.mean:.0%})",
        f"{row.full:.3f} ({row.relative_full.mean:.0%})",
        f"{1000 * row.usd:.4f}",
        str(row.truncated),
    ]
    return f"| {' | '.join(cells)} |"


def _quality_row(label: str, found: Quality) -> str:
    return f"| {label} | {found.n} | {found.right:.1%} | {_auroc(found)} | {found.ece:.3f} | {found.brier:.3f} |"


def _auroc(found: Quality) -> str:
    return "–" if found.auroc is None else f"{found.auroc:.3f}"


def _sources(training: Training) -> str:
    return ", ".join(f"{source.dataset} ({source.questions})" for source in training.sources)


def _percent(value: Interval) -> str:
    return f"{100 * value.mean:.1f} [{100 * value.low:.1f}, {100 * value.high:.1f}] %"


def _points(value: Interval) -> str:
    return f"{100 * value.mean:+.1f} [{100 * value.low:+.1f}, {100 * value.high:+.1f}]"
