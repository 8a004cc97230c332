"""Collected answers to tasks with tools as arrays, one row a task, graded and with the evidence that serving would
have.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jsonschema.exceptions import SchemaError
from jsonschema.validators import Draft202012Validator
from numpy.typing import NDArray

from lab.calls.grading import is_right
from lab.calls.tasks import CallTask, CallTasks
from lab.training.errors import StoreError
from lab.training.table import Bools, Floats, Rows
from tandem.method.evidence.call_evidence import CALL_NAMES, Written, evidence
from tandem.method.evidence.same_answer import AnswerKind, same
from tandem.method.tools import Call

Role = Literal["llm", "slm"]


@dataclass(frozen=True)
class Side:
    """One model's greedy answers, [n]. `prompt` and `tokens` count tokens; `ended`: by itself, without an error."""

    right: Bools
    prompt: Floats
    tokens: Floats
    ended: Bools
    calls: Bools

    def take(self, rows: Rows) -> Side:
        return Side(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True)
class CallTable:
    """`evidence` float64[n, CALL_NAMES], zero what an answer has not. `valid`: calls that follow their tools' schemas,
    to the letter.

    `agree`: the share of the samples that make the same calls; `sample_tokens`: what the `num_samples` wrote. `said`:
    the last turn of the user's. `none_fits`: no call is right.
    """

    ids: NDArray[np.str_]
    categories: NDArray[np.str_]
    none_fits: Bools
    said: NDArray[np.str_]
    slm: Side
    llm: Side
    evidence: Floats
    valid: Bools
    agree: Floats
    sample_tokens: Floats
    num_samples: Floats

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Rows) -> CallTable:
        return CallTable(*(_taken(getattr(self, field.name), rows) for field in fields(self)))

    def column(self, name: str) -> Floats:
        column: Floats = self.evidence[:, CALL_NAMES.index(name)]
        return column

    @property
    def has_calls(self) -> Bools:
        """The small model calls, and has ended."""
        return self.slm.calls & self.slm.ended

    @property
    def is_text(self) -> Bools:
        return ~self.slm.calls & self.slm.ended

    def nothing_lost(self) -> Bools:
        return self.slm.right | ~self.llm.right


def _taken(value: Any, rows: Rows) -> Any:
    return value.take(rows) if isinstance(value, Side) else value[rows]


def load_answers(tasks: CallTasks, file: Path) -> CallTable:
    """Of the tasks that `file` has (lab.calls.collect), in the order of `tasks`. Raises StoreError where it has
    none.
    """
    try:
        lines = [json.loads(line) for line in file.read_text().splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise StoreError(f"{file} holds no collected answers: run `python -m lab.calls.collect` ({error})") from error
    by_id = {line["id"]: line["written"] for line in lines}
    rows = [_Row.of(task, by_id[task.id]) for task in tasks.items if task.id in by_id]
    if not rows:
        raise StoreError(f"{file} has none of the tasks of {tasks.path}")
    return _table(rows)


def _table(rows: Sequence[_Row]) -> CallTable:
    return CallTable(
        ids=np.array([row.task.id for row in rows]),
        categories=np.array([row.task.category for row in rows]),
        none_fits=np.array([not row.task.answer for row in rows]),
        said=np.array([row.task.messages[-1].text for row in rows]),
        slm=_side(rows, "slm"),
        llm=_side(rows, "llm"),
        evidence=np.array([row.evidence() for row in rows]),
        valid=np.array([row.is_valid() for row in rows]),
        agree=np.array([row.agreement() for row in rows]),
        sample_tokens=np.array([float(sum(len(each["tokens"]) for each in row.samples)) for row in rows]),
        num_samples=np.array([float(len(row.samples)) for row in rows]),
    )


def _side(rows: Sequence[_Row], role: Role) -> Side:
    answers = [row.greedy(role) for row in rows]
    return Side(
        right=np.array([row.is_right(role) for row in rows]),
        prompt=np.array([float(each["prompt_tokens"]) for each in answers]),
        tokens=np.array([float(len(each["tokens"])) for each in answers]),
        ended=np.array([each["reason"] == "eos" and not each["error"] for each in answers]),
        calls=np.array([bool(each["calls"]) for each in answers]),
    )


@dataclass(frozen=True)
class _Row:
    """One task with what was written (lab.calls.collect.Written)."""

    task: CallTask
    written: tuple[Mapping[str, Any], ...]

    @classmethod
    def of(cls, task: CallTask, written: Sequence[Mapping[str, Any]]) -> _Row:
        return cls(task, tuple(written))

    def greedy(self, role: Role) -> Mapping[str, Any]:
        return next(each for each in self.written if each["role"] == role and each["sample"] == 0)

    @property
    def samples(self) -> list[Mapping[str, Any]]:
        return [each for each in self.written if each["sample"] > 0]

    def is_right(self, role: Role) -> bool:
        """An answer that was cut or refused is not, also where no call is right."""
        answer = self.greedy(role)
        return answer["reason"] == "eos" and not answer["error"] and is_right(self.task, _calls(answer))

    def evidence(self) -> list[float]:
        answer = self.greedy("slm")
        tokens = list(zip(answer["tokens"], answer["logprobs"], strict=True))
        if not tokens:
            return [0.0] * len(CALL_NAMES)
        said = [message.text for message in self.task.messages]
        found = evidence(Written(tokens, _calls(answer)), self.task.tools.tools, said)
        return [found.get(name, 0.0) for name in CALL_NAMES]

    def is_valid(self) -> bool:
        schemas = {tool.name: json.loads(tool.schema) for tool in self.task.tools.tools}
        calls = _calls(self.greedy("slm"))
        return bool(calls) and all(name in schemas and _follows(arguments, schemas[name]) for name, arguments in calls)

    def agreement(self) -> float:
        own, kind = _calls(self.greedy("slm")), AnswerKind("calls", self.task.tools.tools)
        found = [bool(same(kind, _calls(each), own)) for each in self.samples]
        return float(np.mean(found)) if found else 0.0


def _calls(answer: Mapping[str, Any]) -> list[Call]:
    return [(name, arguments) for name, arguments in answer["calls"]]


def _follows(arguments: str, schema: Mapping[str, Any]) -> bool:
    """A schema that is none, as the leaderboard has some, is followed by nothing."""
    try:
        return bool(Draft202012Validator(schema).is_valid(json.loads(arguments)))
    except (SchemaError, ValueError, RecursionError):
        return False
