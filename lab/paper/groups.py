"""MATH's test questions by subject and by level: where the stop helps."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from lab.paper.answers import judged
from lab.training.datasets import FOLDER, load
from lab.training.metrics import Interval, difference_of_means
from lab.training.names import LLM_ALONE, OURS, SLM_ALONE
from lab.training.pricing import PricedCourse
from lab.training.table import Bools

SHOWN = (LLM_ALONE, SLM_ALONE, "fixed:2", "paper", "paper:zero", "shepherd", OURS)


@dataclass(frozen=True)
class Group:
    """`right` and `cost` by method; cost relative to the large model alone. `difference`: our accuracy less the large
    model's.
    """

    name: str
    n: int
    right: dict[str, float]
    cost: dict[str, float]
    difference: Interval


def levels() -> Mapping[str, int]:
    """Of MATH's test questions, 1 to 5, by id. They stand apart: collected answers belong to the checksum of the
    questions' file.
    """
    found: dict[str, int] = json.loads((FOLDER / "math_test_levels.json").read_text())
    return found


def groups() -> Iterator[Group]:
    """All questions, then by level, then by subject."""
    answered, items = judged("math_test"), {item.id: item for item in load("math_test").items}
    asked = [items[name.partition("/")[2]] for name in answered.found.table.questions]
    outcomes = {name: answered.outcomes[name] for name in SHOWN}
    yield _group("all", np.ones(len(asked), bool), outcomes)
    level_of = levels()
    for level in range(1, 6):
        yield from _some(f"level {level}", [level_of[item.id] == level for item in asked], outcomes)
    for subject in sorted({item.subject for item in asked}):
        yield from _some(_shown(subject), [item.subject == subject for item in asked], outcomes)


def _some(name: str, chosen: list[bool], outcomes: dict[str, PricedCourse]) -> Iterator[Group]:
    if any(chosen):
        yield _group(name, np.array(chosen), outcomes)


def _group(name: str, rows: Bools, outcomes: dict[str, PricedCourse]) -> Group:
    part = {method: outcome.take(rows) for method, outcome in outcomes.items()}
    alone = part[LLM_ALONE]
    return Group(
        name,
        int(rows.sum()),
        {method: float(each.right.mean()) for method, each in part.items()},
        {method: float(each.full.mean() / alone.full.mean()) for method, each in part.items()},
        difference_of_means(part[OURS].right, alone.right),
    )


def _shown(subject: str) -> str:
    return subject.replace("_", " ")
