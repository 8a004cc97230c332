"""The collected runs as arrays: one row for each question, one column for each stage (0: no insight)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.sufficiency_scorer.artefact import Label
from services.sufficiency_scorer.words import words
from training.collect import Run

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Answers:
    """One way to an answer, for every question: float64 or bool [n] or [n, stages]. Missing runs hold 0 and False."""

    right: Bools
    tokens: Floats
    prompt: Floats
    truncated: Bools
    exists: Bools


@dataclass(frozen=True)
class Table:
    """n questions, K stages with insight. `slm` and `forced` are [n, K + 1]; `llm`, `concise` are [n].

    `insight` float64[n, K + 1] is the large model's tokens up to each stage; where it had ended before, the stage does
    not exist. `features` float32[n, K + 1, 16], `states` float32[n, K + 1, 2 d], `answer_features` float32[n, 16], `words`
    float32[n, WIDTH].
    """

    questions: tuple[str, ...]
    llm: Answers
    concise: Answers
    forced: Answers
    slm: Answers
    insight: Floats
    features: NDArray[np.float32]
    states: NDArray[np.float32]
    answer_features: NDArray[np.float32]
    words: NDArray[np.float32]

    @property
    def stages(self) -> int:
        return int(self.slm.right.shape[1])

    def enough(self, label: Label) -> Bools:
        """bool[n, K + 1]: what a score of this label is to tell of each stage (services.sufficiency_scorer.artefact)."""
        return self.slm.right if label == "right" else self.slm.right | ~self.llm.right[:, None]

    def take(self, rows: NDArray[np.intp] | Bools) -> Table:
        """The questions of `rows`, indices or a mask."""
        picked = np.arange(len(self.questions))[rows]
        values: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Answers):
                values[field.name] = Answers(*(getattr(value, f.name)[picked] for f in fields(value)))
            elif field.name == "questions":
                values[field.name] = tuple(value[i] for i in picked)
            else:
                values[field.name] = value[picked]
        return replace(self, **values)


def make_table(runs: Sequence[Run], stages: int) -> Table:
    """`stages` counts those with insight. A question without its `llm` run is left out."""
    by_question: dict[str, dict[tuple[str, int], Run]] = defaultdict(dict)
    for run in runs:
        by_question[run.question][run.name, run.stage] = run
    questions = tuple(q for q, found in by_question.items() if ("llm", 0) in found)
    every = [by_question[q] for q in questions]
    columns = range(stages + 1)
    first = next(run for run in runs if run.states is not None)
    assert first.states is not None
    assert first.features is not None

    def answers(name: str, at: Sequence[int]) -> Answers:
        found = [[rows.get((name, k)) for k in at] for rows in every]
        return Answers(
            right=np.array([[bool(r and r.right) for r in row] for row in found]),
            tokens=np.array([[float(r.output_tokens if r else 0) for r in row] for row in found]),
            prompt=np.array([[float(r.prompt_tokens if r else 0) for r in row] for row in found]),
            truncated=np.array([[bool(r and r.truncated) for r in row] for row in found]),
            exists=np.array([[r is not None for r in row] for row in found]),
        )

    def flat(name: str) -> Answers:
        wide = answers(name, [0])
        return Answers(*(getattr(wide, f.name)[:, 0] for f in fields(wide)))

    def stacked(field: str, size: int, rows: list[list[Run | None]]) -> NDArray[np.float32]:
        empty = np.zeros(size, np.float32)
        cells = [[getattr(r, field) if r and getattr(r, field) is not None else empty for r in row] for row in rows]
        return np.array(cells, np.float32)

    slm = [[rows.get(("slm", k)) for k in columns] for rows in every]
    return Table(
        questions=questions,
        llm=flat("llm"),
        concise=flat("concise"),
        forced=answers("forced", columns),
        slm=answers("slm", columns),
        insight=np.array([[float(r.insight_tokens if r else 0) for r in row] for row in slm]),
        features=stacked("features", len(first.features), slm),
        states=stacked("states", len(first.states), slm),
        answer_features=stacked("answer_features", len(first.features), slm)[:, 0],
        words=np.array([words(rows["llm", 0].asked) for rows in every], np.float32),
    )
