"""The report of an evaluation in Markdown."""

from __future__ import annotations

from collections.abc import Mapping

from lab.training.evaluate import Evaluation, MethodResult
from lab.training.methods import display_name
from lab.training.metrics import Interval
from lab.training.names import LLM_ALONE, ORACLE_FINISHING, OURS
from lab.training.study import Policies, Study, Training
from services.sufficiency_scorer.artefact import Quality

_UNITS = {
    "full": "full", "paper": "paper", "usd": "USD", "seconds": "seconds", "usd_8": "USD 8:1", "usd_37": "USD 37:1"
}  # fmt: skip
_LABELS = {
    "nothing_lost": "stopping would lose nothing (the small model is right, or the large model is wrong too)",
    "right": "the small model would answer correctly",
}


def as_text(evaluation: Evaluation, study: Study) -> str:
    """Raises KeyError where a method was not evaluated."""
    training = study.training()
    lines = [
        *_introduction(evaluation, training, study.policies()),
        "",
        *_summary(evaluation),
        "",
        *_table(evaluation.rows),
        "",
        "Intervals are 95 %: Wilson's for accuracies, paired bootstrap over questions for differences. Cascade, "
        "router and ours were tuned for the same objective.",
        *_left_out(evaluation.left_out),
        "",
        *_costs(evaluation),
        "",
        *_stops(evaluation),
        "",
        *_scorer(evaluation, training),
        "",
        *_headroom(evaluation),
    ]
    return "\n".join(lines)


def _introduction(evaluation: Evaluation, training: Training, policies: Policies) -> list[str]:
    return [
        f"# {evaluation.dataset}: {evaluation.n} questions",
        "",
        f"Pair and prompts: profile `{training.profile}`. Scorer: `{policies.served.kind}`, trained to predict whether "
        f"{_LABELS[training.label]}, on {len(training.questions) + len(training.more_questions)} questions of "
        f"{_sources(training)}. Objective of the calibration: {policies.objective}. "
        f"The models ran on {evaluation.computed_by}. No question of this report was used for training or calibration.",
    ]


def _summary(evaluation: Evaluation) -> list[str]:
    ours, alone, scorer = evaluation.row(OURS), evaluation.row(LLM_ALONE), evaluation.scorer_overall
    return [
        f"- **{OURS}**: accuracy {_percent(ours.accuracy)}, LLM alone {_percent(alone.accuracy)}; paired difference "
        f"{_points(ours.difference)} points (McNemar p = {ours.p_llm:.3f}).",
        "- Cost relative to the LLM alone: "
        f"{'; '.join(f'{label} {_percent(ours.relative[unit])}' for unit, label in _UNITS.items() if unit in ours.relative)}.",  # noqa: E501
        f"- The same shares of stops on random questions: accuracy {_percent(evaluation.random_same_stops)}. A "
        "random mix of "
        f"both models alone at the same `{evaluation.unit}` cost: {_percent(evaluation.random_same_cost)}.",
        _gap(evaluation),
        f"- Scorer on these questions: AUROC {_auroc(scorer)} over all stages, ECE {scorer.ece:.3f}, Brier "
        f"{scorer.brier:.3f}.",
    ]


def _stops(evaluation: Evaluation) -> list[str]:
    ours = [row for row in evaluation.rows if row.name.startswith(OURS)]
    stages = ["LLM's own" if stage == "llm" else f"stage {stage}" for stage in ours[0].stops]
    return [
        "## Stages of the answers",
        "",
        f"| method | {' | '.join(stages)} |",
        "|---" * (len(stages) + 1) + "|",
        *(f"| {_bold(row)} | {' | '.join(map(str, row.stops.values()))} |" for row in ours),
    ]


def _scorer(evaluation: Evaluation, training: Training) -> list[str]:
    return [
        "## The scorer on these questions",
        "",
        f"| stage | n | {training.label.replace('_', ' ')} | AUROC | ECE | Brier |",
        "|---|---|---|---|---|---|",
        *(_quality_row(str(stage), found) for stage, found in enumerate(evaluation.scorer)),
        _quality_row("all", evaluation.scorer_overall),
        "",
        "AUROC of all trained kinds of scorer, for comparison; the served one was chosen on training questions:",
        "",
        *_aurocs(evaluation.aurocs),
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
        "## Headroom of a better scorer",
        "",
        "The least `full` cost at the LLM's accuracy if the bare questions were scored at no cost by a scorer of "
        "this AUROC, with the optimal threshold for these same questions (mean of 200 draws of simulated scores):",
        "",
        f"| AUROC | {' | '.join(f'{each.auroc:.1f}' for each in found)} | oracle over all stages |",
        "|---" * (len(found) + 2) + "|",
        f"| cost | {' | '.join(f'{each.cost:.0%}' for each in found)} | {limit.relative['full'].mean:.0%}, "
        f"{limit.difference.mean * 100:+.0f} points |",
    ]


def _left_out(methods: Mapping[str, str]) -> list[str]:
    reasons = dict.fromkeys(methods.values())
    named = {reason: [display_name(name) for name, why in methods.items() if why == reason] for reason in reasons}
    return [
        line for reason, names in named.items() for line in ("", f"Left out, because {reason}: {', '.join(names)}.")
    ]


def _gap(evaluation: Evaluation) -> str:
    if evaluation.best_fixed is None or evaluation.gap_closed is None:
        return "- No fixed stage is as cheap as ours."
    p = evaluation.row(OURS).p_best_fixed
    return (
        f"- Best fixed stage at no higher cost: {display_name(evaluation.best_fixed)} (McNemar against ours p = "
        f"{p:.3f}). Oracle gap closed: {_percent(evaluation.gap_closed)}."
    )


def _table(rows: list[MethodResult]) -> list[str]:
    head = "method | accuracy % | difference to LLM, points | p | LLM tokens | SLM tokens | truncated"
    return [f"| {head} |", "|" + "---|" * 7, *(_row(row) for row in rows)]


def _costs(evaluation: Evaluation) -> list[str]:
    units = [unit for unit in _UNITS if unit in evaluation.row(LLM_ALONE).relative]
    head = " | ".join(["method", *(_UNITS[unit] for unit in units), *(["latency, s"] if "seconds" in units else [])])
    return [
        "## Costs, relative to the LLM alone",
        "",
        f"| {head} |",
        "|---" * head.count("|") + "|---|",
        *(_cost_row(row, units) for row in evaluation.rows),
        "",
        "Means with paired bootstrap intervals over questions. `full`: TFLOPs of everything that is computed "
        "(prefill, scoring "
        "passes, prefill ahead, trials, overrun); `paper`: the paper's formula; USD at the profile's prices, and at "
        "two illustrative "
        "lists (2/12 against 0.25/1.5 USD a million tokens, and 3/15 against 0.1/0.4); seconds of the devices and "
        "checks by the "
        "profile's measured rates, if it has them. Latency is the time to the whole answer where each model has a "
        "device.",
    ]


def _cost_row(row: MethodResult, units: list[str]) -> str:
    cells = [_percent(row.relative[unit]) for unit in units]
    latency = [] if row.latency is None else [f"{row.latency:.2f}"]
    return f"| {' | '.join([_bold(row), *cells, *latency])} |"


def _bold(row: MethodResult) -> str:
    return f"**{row.label}**" if row.name == OURS else row.label


def _row(row: MethodResult) -> str:
    cells = [
        _bold(row),
        _percent(row.accuracy),
        _points(row.difference),
        f"{row.p_llm:.3f}",
        f"{row.llm_tokens:.0f}" + (f" + {row.overrun_tokens:.1f}" if row.overrun_tokens else ""),
        f"{row.slm_tokens:.0f}",
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
