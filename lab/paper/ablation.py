"""The ablation of the insight's four parts: the shipped pair hands over by a brief, with one part left out, or all.

The collected answers (`ablation/*.jsonl`; each file's origin names models, versions and briefs) are of the questions
that all variants have answered. Continuation, to compare with, is what the shipped profile has collected at its last
stage.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lab.pages import points
from lab.paper.answers import collected
from lab.paper.methods import TESTS
from lab.training.collect import Run
from lab.training.metrics import difference_of_means
from tandem.paths import REPOSITORY

_WHOLE, _CONTINUATION = "all four parts", "continuation"
_SETS = ("gsm8k", "math_test")
_FOLDER = REPOSITORY / "lab" / "paper" / "ablation"


def rows() -> Iterator[str]:
    """Cells: accuracy, points against the whole brief (paired), and tokens of the insight."""
    for name in _SETS:
        found = _answers(name)
        whole = np.array([each[_WHOLE]["right"] for each in found.values()])
        for shown in next(iter(found.values())):
            given = [each[shown] for each in found.values()]
            yield _cells(name, shown, whole, [(each["right"], each["insight_tokens"]) for each in given])
        runs = _last_stages(name)
        yield _cells(name, _CONTINUATION, whole, [(runs[q].right, runs[q].insight_tokens) for q in found])


def _answers(name: str) -> Mapping[str, dict[str, Mapping[str, Any]]]:
    """By question, then by variant."""
    lines = [json.loads(line) for line in (_FOLDER / f"{name}.jsonl").read_text().splitlines()]
    return {line[0]["question"]: {each["variant"]: each for each in line} for line in lines}


def _last_stages(name: str) -> Mapping[str, Run]:
    """The small model's runs from the last stage that the large model's text has, by question."""
    runs = sorted((run for run in collected(name).runs if run.name == "slm"), key=lambda run: run.stage)
    return {run.question.partition("/")[2]: run for run in runs}


def _cells(name: str, shown: str, whole: Any, found: list[tuple[bool, int]]) -> str:
    right, insight = (np.array(values, float) for values in zip(*found, strict=True))
    against = "" if shown == _WHOLE else points(difference_of_means(right, whole))
    return f"{TESTS[name]} | {shown} | {len(found)} | {right.mean():.1%} | {against} | {insight.mean():.0f}"
