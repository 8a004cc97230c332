"""Right or wrong: final answers by math-verify, code by its tests in a process of its own.

Only the text that a model wrote itself is graded, and in it the LAST final answer counts (METHOD 4.7).
"""

from __future__ import annotations

import re
import resource
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

from tandem.method.answer import final_answer
from training.datasets import Item

_FORMS = (LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig())
_FENCE = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)
_SECONDS = 10.0
_MEMORY_BYTES = 1 << 30
_OUTPUT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Graded:
    """`answer` is what was compared: the last final answer, or the program."""

    is_right: bool
    answer: str


def grade(item: Item, text: str, prefix: str = "") -> Graded:
    """Grade what a model wrote to `item`. `prefix` is what it went on from: it completes code, it answers nothing."""
    return _grade_code(item, text, prefix) if item.task == "code" else _grade_answer(item, text)


def grade_all(jobs: list[tuple[Item, str, str]], workers: int = 2) -> list[Graded]:
    """Grade (item, text, prefix) triples; programs run `workers` at a time."""
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(grade, *job) if job[0].task == "code" else None for job in jobs]
        return [future.result() if future else grade(*job) for future, job in zip(futures, jobs, strict=True)]


def _grade_answer(item: Item, text: str) -> Graded:
    answer = final_answer(text, "boxed")
    # A text without a box is searched for its last number or formula.
    boxed = answer if answer == text.strip() else f"\\boxed{{{answer}}}"
    gold = parse(f"\\boxed{{{item.answer}}}", extraction_config=_FORMS)
    found = parse(boxed, extraction_config=_FORMS)
    return Graded(bool(found) and bool(verify(gold, found)), answer)


def program(item: Item, text: str, prefix: str = "") -> str:
    """The program that a text holds: its last block of code that defines the function, else the text as a whole.

    A text that goes on inside a block that its prefix opened is read together with it.
    """
    whole = prefix + text if prefix.count("```") % 2 else text
    blocks = [block for block in _FENCE.findall(whole) if f"def {item.entry_point}" in block]
    code = blocks[-1] if blocks else whole
    # The task's own prompt first: its imports and helpers are the program's too.
    return f"{item.question}\n    pass\n\n\n{code}\n"


def _grade_code(item: Item, text: str, prefix: str) -> Graded:
    code = program(item, text, prefix)
    check = f"{code}\n\n{item.answer}\n\ncheck({item.entry_point})\n"
    with tempfile.TemporaryDirectory(prefix="tandem-grade-") as folder:
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-c", _GUARD + check],
                cwd=folder,
                env={"PATH": "/usr/bin:/bin", "HOME": folder, "TMPDIR": folder},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_SECONDS,
                preexec_fn=_limit,
                start_new_session=True,
            )
        except subprocess.TimeoutExpired:
            return Graded(False, code)
    return Graded(done.returncode == 0, code)


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (int(_SECONDS), int(_SECONDS)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_OUTPUT_BYTES, _OUTPUT_BYTES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))


# Runs before the program: no sockets, no other processes, nothing written outside its folder.
_GUARD = """
import sys as _sys
def _refuse(event, args):
    if event.startswith(("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.kill",
                         "shutil.rmtree", "ctypes.")):
        raise PermissionError(event)
    if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+") and str(args[0]).startswith("/"):
        raise PermissionError(event)
_sys.addaudithook(_refuse)
del _refuse
"""
