"""Grading: final answers (training.final_answers), JSON by value, code by its tests in a sandbox (docs/method.md, Grading).

Only text that the model itself generated is graded, and the LAST final answer in it counts.
"""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from lab.training.datasets import Item
from lab.training.final_answers import is_same_answer
from lab.training.programs import passes
from tandem.method.answer import final_answer

_FENCE = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Graded:
    """`answer` is what was compared: the last final answer, or the program."""

    is_right: bool
    answer: str


def grade(item: Item, text: str, prefix: str = "") -> Graded:
    """Grade a model's text. `prefix` is the insight that it continues: it may complete code, but is not searched for an answer."""
    if item.json_schema:
        return _grade_json(item, text, prefix)
    return _grade_code(item, text, prefix) if item.task == "code" else _grade_answer(item, text)


def grade_all(jobs: list[tuple[Item, str, str]], workers: int = 2) -> list[Graded]:
    """Grade (item, text, prefix) triples, with `workers` programs at a time."""
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(grade, *job) if job[0].task == "code" else None for job in jobs]
        return [future.result() if future else grade(*job) for future, job in zip(futures, jobs, strict=True)]


def _grade_answer(item: Item, text: str) -> Graded:
    answer = final_answer(text, "boxed")
    return Graded(is_same_answer(item.answer, answer, is_boxed=answer != text.strip()), answer)


def _grade_json(item: Item, text: str, prefix: str) -> Graded:
    answer = final_answer(text, "json", prefix)
    try:
        return Graded(_is_same(json.loads(answer), json.loads(item.answer)), answer)
    except ValueError:
        return Graded(False, answer)


def _is_same(one: Any, other: Any) -> bool:
    """Numbers by value, strings without the white space around them."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    if isinstance(one, str) and isinstance(other, str):
        return one.strip() == other.strip()
    if isinstance(one, bool) or isinstance(other, bool):  # which Python counts among the numbers
        return one is other
    return bool(one == other)


def program(item: Item, text: str, prefix: str = "") -> str:
    """The last code block that defines the function, else the whole text, after the task's own prompt.

    If `prefix` leaves a code block open, the text continues that block.
    """
    whole = prefix + text if prefix.count("```") % 2 else text
    blocks = [block for block in _FENCE.findall(whole) if f"def {item.entry_point}" in block]
    code = blocks[-1] if blocks else whole
    return f"{_head(item)}{code}\n"


def code_of(item: Item, graded: str) -> str:
    """What the model wrote of a graded program."""
    return graded.removeprefix(_head(item)).removesuffix("\n")


def _head(item: Item) -> str:
    """The prompt, whose imports and helpers the program may use."""
    return f"{item.question}\n    pass\n\n\n"


def _grade_code(item: Item, text: str, prefix: str) -> Graded:
    code = program(item, text, prefix)
    return Graded(passes(code, f"{item.answer}\n\ncheck({item.entry_point})\n"), code)
