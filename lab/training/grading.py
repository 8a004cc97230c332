"""Grading: final answers (lab.training.final_answers), JSON by value, code by its tests in a sandbox (docs/method.md,
Grading).

Only text that the model itself generated is graded, and the LAST final answer in it counts.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from lab.training.datasets import Item
from lab.training.final_answers import is_same_answer
from services.answer_checker.checker import MODULES, allows_weak_sandbox, start_sandbox
from services.answer_checker.sandbox.layers import Limits
from services.answer_checker.sandbox.messages import BadMessage, receive, send
from services.answer_checker.sandbox.processes import Sandbox
from tandem.method.answer import final_answer

_ENTRY = "services.answer_checker.inside.program_tests"
_starting = threading.Lock()
_LIMITS = Limits(seconds=10.0, memory_bytes=1 << 30)


def passes(program: str, tests: str) -> bool:
    """Whether `tests` end without an error after `program`. May be called from any thread; blocks.

    Raises SandboxError, and FailedPrecondition where this machine would not isolate them and nobody allowed that.
    """
    with _starting:
        loop = _loop()
    return asyncio.run_coroutine_threadsafe(_passes(program, tests), loop).result()


async def _passes(program: str, tests: str) -> bool:
    process = (await _sandbox()).launch(f"{_ENTRY}:main", _LIMITS)
    word, said = secrets.token_hex(), None
    try:
        with suppress(ConnectionError, BadMessage):  # it has ended, or says something else
            await send(process.talk, {"program": program})
            if await receive(process.talk) is not None:
                await send(process.talk, {"tests": tests, "word": word})
                said = await receive(process.talk)
        await process.end()
    finally:
        process.close()
    return bool(said == {"word": word})


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """Of the thread that talks to the sandbox, for as long as this process lives."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="programs", daemon=True).start()
    return loop


_started: asyncio.Task[Sandbox] | None = None


async def _sandbox() -> Sandbox:
    """One for all programs. It ends with this process, whose end of its stream closes then."""
    global _started
    if _started is None:
        _started = asyncio.create_task(start_sandbox(allow_weak=allows_weak_sandbox(), modules=(*MODULES, _ENTRY)))
    return await _started


_FENCE = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Graded:
    """`answer` is what was compared: the last final answer, or the program."""

    is_right: bool
    answer: str


def grade(item: Item, text: str, prefix: str = "") -> Graded:
    """Grade a model's text. `prefix` is the insight that it continues: it may complete code, but is not searched for an
    answer.
    """
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
