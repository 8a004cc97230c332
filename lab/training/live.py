"""The served system against the offline evaluation: do both stop at the same stage?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lab.training.datasets import Item
from lab.training.pricing import LLM
from lab.training.table import Floats, Table
from tandem.method.request.plan import Plan

if TYPE_CHECKING:
    from lab.training.policy import Policy

Ask = Callable[[Item], Mapping[str, Any]]
"""(question) -> SolveResult as JSON"""


@dataclass(frozen=True)
class Compared:
    """One question. Stages are those of the answers, LLM (-1) for the large model's own. `score_gap` is the largest
    difference between scores of the same stage; NaN without any."""

    question: str
    offline_stage: int
    live_stage: int
    score_gap: float

    @property
    def agrees(self) -> bool:
        return self.offline_stage == self.live_stage


def compare(
    table: Table, plan: Plan, policy: Policy, scores: Floats, items: Mapping[str, Item], n: int, ask: Ask
) -> list[Compared]:
    """Ask the system the first `n` questions of `table` that are in `items` (by id)."""
    stages = policy.run(table, plan, scores).stage
    rows = [row for row, question in enumerate(table.questions) if _id(question) in items][:n]
    found = []
    for row in rows:
        result = ask(items[_id(table.questions[row])])
        found.append(
            Compared(
                question=table.questions[row],
                offline_stage=int(stages[row]),
                live_stage=stage_of(result),
                score_gap=_score_gap(scores[row], result["stages"]),
            )
        )
    return found


def stage_of(result: Mapping[str, Any]) -> int:
    """The stage that the answer came from, LLM for the large model's own.

    A result of an older version does not say who wrote it: an unverified answer is then the large model's own where no
    trial was made at its stage.
    """
    stop, tried = result["stop"], {trial["stage"] for trial in result["trials"]}
    is_llms = stop["reason"] == "llm_finished" or (stop["reason"] == "unverified_best" and stop["stage"] not in tried)
    if (said := result.get("answered_by", "unspecified")) != "unspecified":
        is_llms = said == "llm"
    return LLM if is_llms else int(stop["stage"])


def _score_gap(offline: Floats, live: Sequence[Mapping[str, Any]]) -> float:
    gaps = [abs(offline[stage["stage"]] - stage["score"]) for stage in live if stage["score"] is not None]
    return float(np.nanmax(gaps)) if gaps else float("nan")


def _id(question: str) -> str:
    return question.partition("/")[2]
