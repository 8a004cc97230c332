"""The report of an evaluation through a batch, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.training.metrics import Interval
from lab.training.served import Served

_UNITS = {"full": "`full`, TFLOPs", "usd": "USD", "seconds": "seconds"}


def write_served_report(served: Served, profile: str, batch: Mapping[str, Any], folder: Path) -> Path:
    """Write `folder`/DATASET-served.md. `batch` is as GetBatch gives it. Returns the path of the report."""
    folder.mkdir(parents=True, exist_ok=True)
    report = folder / f"{served.dataset.split(':')[0]}-served.md"
    report.write_text("\n".join([*_lines(served, profile, batch), ""]))
    return report


def _lines(served: Served, profile: str, batch: Mapping[str, Any]) -> list[str]:
    figures = served.figures
    return [
        f"# {served.dataset}: {figures.n} questions, served",
        "",
        f"Asked of a running system as the batch `{batch['batch_id']}`; profile `{profile}`. The whole batch cost "
        f"${batch['usd']:.6f}. {_unanswered(served)}",
        "",
        "| accuracy % | LLM tokens | SLM tokens | truncated | TFLOPs, `paper` | TFLOPs, `full` | USD |",
        "|" + "---|" * 7,
        f"| {_percent(served.accuracy)} | {figures.llm_tokens:.0f} + {figures.overrun_tokens:.1f} | "
        f"{figures.slm_tokens:.0f} | {figures.truncated} | {figures.tflops_paper:.3f} | {figures.tflops_full:.3f} | "
        f"{figures.usd:.6f} |",
        "",
        "Means per question; the interval of the accuracy is Wilson's at 95 %.",
        "",
        "## Costs, relative to the LLM alone",
        "",
        "| cost | served | LLM alone | relative |",
        "|---|---|---|---|",
        *(_cost(served, unit) for unit in served.relative),
        "",
        "The LLM alone is the mean of the bills' estimates, exact where that model has answered by itself; its accuracy is "
        "not known from a batch. Relative costs have paired bootstrap intervals over questions.",
        "",
        "## Stops",
        "",
        "| stage of the answer | questions |",
        "|---|---|",
        *(
            f"| {'the LLM itself' if stage == 'llm' else stage} | {count} |"
            for stage, count in figures.stop_stages.items()
        ),
        "",
        "| reason of the stop | questions |",
        "|---|---|",
        *(f"| {reason.replace('_', ' ')} | {count} |" for reason, count in sorted(served.reasons.items())),
    ]


def _unanswered(served: Served) -> str:
    if not served.unanswered:
        return "Every question was answered."
    codes = ", ".join(f"{count} {code}" for code, count in sorted(served.unanswered.items()))
    return f"Not answered, and in no figure below: {codes}."


def _cost(served: Served, unit: str) -> str:
    mean = {"full": served.figures.tflops_full, "usd": served.figures.usd, "seconds": served.figures.seconds}[unit]
    return f"| {_UNITS[unit]} | {mean:.6g} | {served.llm_alone[unit]:.6g} | {_percent(served.relative[unit])} |"


def _percent(value: Interval) -> str:
    return f"{100 * value.mean:.1f} [{100 * value.low:.1f}, {100 * value.high:.1f}] %"
