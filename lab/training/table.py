"""Collected runs as arrays: one row per question, one column per stage (0: no insight)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lab.training.names import AGREEMENTS
from services.sufficiency_scorer.artefact import Label
from services.sufficiency_scorer.scorer_inputs import bag_of_words
from tandem.method.evidence.checks import Verdict
from tandem.method.roles import SMALL_ROLES

if TYPE_CHECKING:
    from lab.training.collect import Run

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Rows = NDArray[np.intp] | Bools
RunsOfQuestion = Mapping[tuple[str, int], "Run"]
"""The runs of one question by (name, stage)."""


@dataclass(frozen=True)
class Answers:
    """One kind of run, for all questions: float64 or bool, [n] or [n, stages]. Missing runs hold 0 and False.

    `passed` and `failed`: what the checks said; neither where they could not tell. `score` is the share that held.
    """

    right: Bools
    tokens: Floats
    prompt: Floats
    truncated: Bools
    exists: Bools
    passed: Bools
    failed: Bools
    score: Floats
    check_seconds: Floats

    def take(self, rows: Rows) -> Answers:
        return Answers(*(getattr(self, field.name)[rows] for field in fields(self)))

    def column(self, number: int) -> Answers:
        return Answers(*(getattr(self, field.name)[:, number] for field in fields(self)))

    @property
    def first_column(self) -> Answers:
        return self.column(0)


@dataclass(frozen=True)
class Table:
    """n questions, K stages with insight. `slm` and `forced` are [n, K + 1]; `llm`, `concise` and `repair` are [n].

    `further` [n] are the further small models' answers to the bare question, by role. `agreements` [n] is what the
    check of two small models' programs said, by both roles; it exists where that check applies to the question.

    `final_answers` str[n, K + 1] are the small model's. `is_special` bool[n]: a task that a policy may leave unscored,
    a program or an extraction. `is_checked` bool[n]: a check applies to the question, so the small model tries.
    `question_tokens` float64[n], without the template; 0: unknown.

    `insight` float64[n, K + 1] holds the large model's tokens up to each stage; a stage after its end does not exist.
    `features` float32[n, K + 1, 16], `states` float32[n, K + 1, 2 d], `answer_features` float32[n, 16], `words`
    float32[n, WIDTH].
    """

    questions: tuple[str, ...]
    llm: Answers
    concise: Answers
    forced: Answers
    slm: Answers
    repair: Answers
    further: Mapping[str, Answers]
    agreements: Mapping[tuple[str, str], Answers]
    final_answers: NDArray[np.object_]
    is_special: Bools
    is_checked: Bools
    question_tokens: Floats
    insight: Floats
    features: NDArray[np.float32]
    states: NDArray[np.float32]
    answer_features: NDArray[np.float32]
    words: NDArray[np.float32]

    @property
    def stages(self) -> int:
        """K + 1."""
        return int(self.slm.right.shape[1])

    @property
    def has_insight(self) -> bool:
        """False for a file of `collect --only-question`, whose answers were not scored either."""
        return bool(self.slm.exists[:, 1:].any())

    @property
    def is_compared(self) -> Bools:
        """bool[n]: the check of two programs applies to the question."""
        found = [each.exists for each in self.agreements.values()]
        return np.any(found, axis=0) if found else np.zeros(len(self.questions), bool)

    def targets(self, label: Label) -> Bools:
        """bool[n, K + 1]: the event that a score with this label predicts (services.sufficiency_scorer.artefact)."""
        return self.slm.right if label == "right" else self.slm.right | ~self.llm.right[:, None]

    def take(self, rows: Rows) -> Table:
        """The questions of `rows`, indices or a mask."""
        return Table(
            questions=tuple(self.questions[i] for i in np.arange(len(self.questions))[rows]),
            llm=self.llm.take(rows),
            concise=self.concise.take(rows),
            forced=self.forced.take(rows),
            slm=self.slm.take(rows),
            repair=self.repair.take(rows),
            further={role: each.take(rows) for role, each in self.further.items()},
            agreements={pair: each.take(rows) for pair, each in self.agreements.items()},
            final_answers=self.final_answers[rows],
            is_special=self.is_special[rows],
            is_checked=self.is_checked[rows],
            question_tokens=self.question_tokens[rows],
            insight=self.insight[rows],
            features=self.features[rows],
            states=self.states[rows],
            answer_features=self.answer_features[rows],
            words=self.words[rows],
        )


def make_table(
    runs: Sequence[Run], stages: int, is_checked: Callable[[Run], bool] = lambda run: bool(run.verdict)
) -> Table:
    """`stages` counts those with insight. Questions without an `llm` run are left out; `is_checked` is asked for those
    that have.
    """
    by_question: dict[str, dict[tuple[str, int], Run]] = defaultdict(dict)
    for run in runs:
        by_question[run.question][run.name, run.stage] = run
    questions = tuple(question for question, found in by_question.items() if ("llm", 0) in found)
    rows = [by_question[question] for question in questions]
    columns, names = range(stages + 1), {run.name for run in runs}
    slm = [[row.get(("slm", stage)) for stage in columns] for row in rows]
    first = next(run for run in runs if run.states is not None)
    assert first.states is not None
    assert first.features is not None
    return Table(
        questions=questions,
        llm=_answers(rows, "llm", [0]).first_column,
        concise=_answers(rows, "concise", [0]).first_column,
        forced=_answers(rows, "forced", columns),
        slm=_answers(rows, "slm", columns),
        repair=_answers(rows, "repair", [0]).first_column,
        further={role: _answers(rows, role, [0]).first_column for role in SMALL_ROLES[1:] if role in names},
        agreements={pair: _answers(rows, name, [0]).first_column for pair, name in AGREEMENTS.items() if name in names},
        final_answers=np.array([[run.answer if run else "" for run in row] for row in slm], object),
        is_special=np.array([bool(row["llm", 0].verdict) for row in rows]),
        is_checked=np.array([is_checked(row["llm", 0]) for row in rows]),
        question_tokens=np.array([float(row["llm", 0].question_tokens) for row in rows]),
        insight=np.array([[float(run.insight_tokens if run else 0) for run in row] for row in slm]),
        features=_stacked(slm, "features", len(first.features)),
        states=_stacked(slm, "states", len(first.states)),
        answer_features=_stacked(slm, "answer_features", len(first.features))[:, 0],
        words=np.array([bag_of_words(row["llm", 0].asked) for row in rows], np.float32),
    )


def _answers(rows: Iterable[RunsOfQuestion], name: str, stages: Iterable[int]) -> Answers:
    found = [[row.get((name, stage)) for stage in stages] for row in rows]

    def each(value: Callable[[Run], float]) -> Floats:
        return np.array([[float(value(run)) if run else 0.0 for run in row] for row in found])

    return Answers(
        right=each(lambda run: run.right) > 0,
        tokens=each(lambda run: run.output_tokens),
        prompt=each(lambda run: run.prompt_tokens),
        truncated=each(lambda run: run.truncated) > 0,
        exists=np.array([[run is not None for run in row] for row in found]),
        passed=each(lambda run: run.verdict == Verdict.PASS) > 0,
        failed=each(lambda run: run.verdict == Verdict.FAIL) > 0,
        score=each(lambda run: run.score),
        check_seconds=each(lambda run: run.check_seconds),
    )


def _stacked(rows: Iterable[Iterable[Run | None]], field: str, size: int) -> NDArray[np.float32]:
    """float32[n, stages, size]; zeros where there is no run or the run has no such vector."""
    empty = np.zeros(size, np.float32)
    vectors = [[getattr(run, field) if run else None for run in row] for row in rows]
    return np.array([[empty if vector is None else vector for vector in row] for row in vectors], np.float32)
