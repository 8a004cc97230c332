"""The answers of a running system to questions with known ones: accuracy, cost and stops of the pair that is served.

A system answers each question once, so nothing is known of other methods on it, and the cost of the large model alone
is the estimate of the bills.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lab.training.datasets import Dataset, Item
from lab.training.figures import Data, MethodFigures
from lab.training.grading import grade_all
from lab.training.metrics import Interval, accuracy, ratio_of_means
from lab.training.names import OURS
from lab.training.pricing import LLM
from lab.training.table import Floats
from tandem.method.answer import final_answer

Line = Mapping[str, Any]
"""One line of a batch's output in Tandem's own form (docs/batch.md)."""
# Fields of the bill by unit: of the request, and of the large model alone.
_COSTS = {
    "full": ("tflops_full", "tflops_llm_alone"),
    "usd": ("usd", "usd_llm_alone"),
    "seconds": ("seconds", "seconds_llm_alone"),
}


@dataclass(frozen=True)
class Served:
    """`figures` are means over the answered questions. `unanswered` counts the others by the code of their error.

    `llm_alone` is the mean cost of the large model alone by the bills' estimates, and `relative` the served cost in
    units of it; by "full" (TFLOPs), "usd", and "seconds" where the profile has measured rates. `reasons` counts the
    reasons of the stops.
    """

    dataset: str
    accuracy: Interval
    figures: MethodFigures
    unanswered: dict[str, int]
    llm_alone: dict[str, float]
    relative: dict[str, Interval]
    reasons: dict[str, int]


def lines_of(items: Sequence[Item], profile: str) -> list[dict[str, Any]]:
    """The questions as lines of a batch."""
    return [_line(item, profile) for item in items]


def evaluate_served(dataset: Dataset, lines: Sequence[Line], stages: int, workers: int) -> Served:
    """Grades a batch's output with `workers` programs at a time; the profile has `stages` stages.

    Raises ValueError where no question was answered.
    """
    items = {item.id: item for item in dataset.items}
    answered = [line for line in lines if line["error"] is None]
    if not answered:
        raise ValueError("no question was answered")
    graded = grade_all([(items[line["id"]], _graded_text(items[line["id"]], line), "") for line in answered], workers)
    right = accuracy(np.array([each.is_right for each in graded]))
    return Served(
        dataset=dataset.name,
        accuracy=right,
        figures=_figures(answered, right, stages),
        unanswered=dict(Counter(line["error"]["code"] for line in lines if line["error"])),
        llm_alone={unit: float(alone.mean()) for unit, (_, alone) in _costs(answered).items()},
        relative={unit: ratio_of_means(*both) for unit, both in _costs(answered).items()},
        reasons=dict(Counter(line["stop"]["reason"] for line in answered)),
    )


def as_contract(served: Served, profile: str, path: str, sha256: str, batch: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON of `tandem eval`, as far as a served answer says it; `batch` is what was asked, with its state and
    cost.
    """
    return {
        "profile": profile,
        "data": asdict(Data(path, sha256, served.figures.n)),
        "methods": {OURS: asdict(served.figures)},
        "llm_alone": {
            **served.llm_alone,
            "cost_ratios": {unit: [found.mean, found.low, found.high] for unit, found in served.relative.items()},
        },
        "stop_reasons": served.reasons,
        "unanswered": served.unanswered,
        "batch": dict(batch),
    }


def _line(item: Item, profile: str) -> dict[str, Any]:
    schema = {"json_schema": json.loads(item.json_schema)} if item.json_schema else {}
    return {"id": item.id, "question": item.question, "profile": profile, "task": item.task, **schema}


def _graded_text(item: Item, line: Line) -> str:
    """The answer; a boxed one in its box again, because any other text is searched for what it calls its answer."""
    answer, written = str(line["answer"]), str(line["reasoning"])
    if item.task == "code" or item.json_schema:
        return answer
    box = final_answer(written, "boxed")
    return f"\\boxed{{{answer}}}" if box == answer != written.strip() else answer


def _figures(answered: Sequence[Line], right: Interval, stages: int) -> MethodFigures:
    used = Counter(_stage_of(line) for line in answered)
    seconds = _column(answered, "cost", "seconds")
    return MethodFigures(
        accuracy=right.mean,
        ci95=[right.low, right.high],
        n=len(answered),
        truncated=sum(not line["complete"] for line in answered),
        llm_tokens=_mean(answered, "usage", "llm", "output_tokens"),
        slm_tokens=_mean(answered, "usage", "slm", "output_tokens"),
        overrun_tokens=_mean(answered, "usage", "llm", "overrun_tokens"),
        tflops_paper=_mean(answered, "cost", "tflops_paper"),
        tflops_full=_mean(answered, "cost", "tflops_full"),
        usd=_mean(answered, "cost", "usd"),
        seconds=None if np.isnan(seconds).any() else float(seconds.mean()),
        latency=None,
        stop_stages={"llm" if stage == LLM else str(stage): used[stage] for stage in (*range(stages + 1), LLM)},
    )


def _stage_of(line: Line) -> int:
    """The stage that the answer came from, LLM for the large model's own. A line does not name the model: an unverified
    answer is the large model's where no trial was made at its stage.
    """
    stop, tried = line["stop"], {trial["stage"] for trial in line["trials"]}
    is_llms = stop["reason"] == "llm_finished" or (stop["reason"] == "unverified_best" and stop["stage"] not in tried)
    return LLM if is_llms else int(stop["stage"])


def _costs(answered: Sequence[Line]) -> dict[str, tuple[Floats, Floats]]:
    """(served, large model alone) by unit; without seconds where a bill has none."""
    both = {
        unit: (_column(answered, "cost", served), _column(answered, "cost", alone))
        for unit, (served, alone) in _COSTS.items()
    }
    return {unit: pair for unit, pair in both.items() if not np.isnan(pair).any()}


def _mean(answered: Sequence[Line], *path: str) -> float:
    return float(_column(answered, *path).mean())


def _column(answered: Sequence[Line], *path: str) -> Floats:
    """float64[n]; NaN where a line has none."""
    return np.array([_number(line, path) for line in answered])


def _number(line: Line, path: Sequence[str]) -> float:
    value: Any = line
    for name in path:
        value = value[name]
    return float("nan") if value is None else float(value)


_UNITS = {"full": "`full`, TFLOPs", "usd": "USD", "seconds": "seconds"}


def as_text(served: Served, profile: str, batch: Mapping[str, Any]) -> str:
    """The report in Markdown. `batch` is as GetBatch gives it."""
    figures = served.figures
    lines = [
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
        "The LLM alone is the mean of the bills' estimates, exact where that model has answered by itself; its "
        "accuracy is not known from a batch. Relative costs have paired bootstrap intervals over questions.",
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
    return "\n".join(lines)


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
