"""The served system beside the offline evaluation: does it decide as that says?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tandem.method.plan import Plan
from training.datasets import Item
from training.outcomes import LLM
from training.policy import Policy
from training.table import Floats, Table

Ask = Callable[[Item], Mapping[str, Any]]
"""A question in, a SolveResult as a dict out."""


@dataclass(frozen=True)
class Compared:
    """One question. Stages are where the answer came from, -1 for the large model's own; `score_gap` is the largest
    difference of a score that both have."""

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
    """Ask the first `n` questions of `table` that are among `items` (by id) of the system."""
    stages = policy.run(table, plan, scores).stage
    rows = [row for row, question in enumerate(table.questions) if _id(question) in items][:n]
    found = []
    for row in rows:
        result = ask(items[_id(table.questions[row])])
        is_llms = result["stop"]["reason"] == "llm_finished"
        found.append(
            Compared(
                table.questions[row],
                int(stages[row]),
                LLM if is_llms else int(result["stop"]["stage"]),
                _gap(scores[row], result["stages"]),
            )
        )
    return found


def _gap(offline: Floats, live: list[Mapping[str, Any]]) -> float:
    gaps = [abs(offline[s["stage"]] - s["score"]) for s in live if s["score"] is not None]
    return float(np.nanmax(gaps)) if gaps else float("nan")


def _id(question: str) -> str:
    return question.partition("/")[2]
