"""`python_agreement` in a real sandbox: two programs, each in a process of its own."""

from __future__ import annotations

import asyncio

import pytest

from services.answer_checker.checker import AnswerChecker, start_sandbox
from services.answer_checker.sandbox.layers import Limits
from tandem.method.evidence.checks import CheckSpec, Verdict
from tandem.method.request.tasks import CheckTask

PASS, FAIL, UNKNOWN = Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN
PROMPT = 'def add(a, b):\n    """Add.\n    >>> add(1, 2)\n    3\n    >>> add(2, 2)\n    4\n    """\n'
RIGHT = "def add(a, b):\n    return a + b"
OTHER = "def add(x, y):\n    return sum((x, y))"
LISTS = 'def tidy(xs):\n    """Sort xs in place.\n    >>> tidy([3, 1, 2])\n    >>> tidy([5, 4])\n    """\n'


def checked(name: str, argument: str, answer: str, question: str) -> tuple[Verdict, str]:
    """What a check says, in a sandbox of its own."""

    async def run() -> tuple[Verdict, str]:
        sandbox = await start_sandbox(allow_weak=False)
        try:
            checker = AnswerChecker(sandbox, Limits(seconds=3.0), 2, 64)
            [result] = await checker.check(CheckTask("r", question, answer, [CheckSpec(name, argument)], "code"))
        finally:
            await sandbox.stop()
        return result.verdict, result.detail

    return asyncio.run(run())


def agreement(answer: str, other: str, question: str = PROMPT) -> tuple[Verdict, str]:
    return checked("python_agreement", other, answer, question)


def test_programs_that_compute_the_same_on_all_inputs_pass() -> None:
    verdict, detail = agreement(RIGHT, OTHER)
    assert (verdict, detail) == (PASS, "57 of 57 results are equal, 0 inputs apart")  # so many of small numbers differ


def test_an_answer_that_only_satisfies_the_examples_fails_with_the_arguments_that_tell_it() -> None:
    verdict, detail = agreement("def add(a, b):\n    return a + b if b < 3 else 0", OTHER)
    assert verdict == FAIL
    assert "another program differs for the arguments" in detail
    loose = "# share=0.1\n" + OTHER
    assert (agreement("def add(a, b):\n    return a + b if b < 3 else 0", loose))[0] == PASS


def test_inputs_on_which_either_raises_are_apart_and_too_few_others_say_nothing() -> None:
    picky = "def add(a, b):\n    assert a in (1, 2) and b == 2\n    return a + b"
    verdict, detail = agreement(RIGHT, picky)
    assert verdict == UNKNOWN
    assert "at least 10 must be compared" in detail
    assert (agreement(RIGHT, "# least=2\n" + picky))[0] == PASS


def test_what_is_done_to_an_argument_is_compared_where_nothing_is_returned() -> None:
    assert (agreement("def tidy(xs):\n    xs.sort()", "def tidy(xs):\n    xs[:] = sorted(xs)", LISTS))[0] == PASS
    assert (agreement("def tidy(xs):\n    xs.reverse()", "def tidy(xs):\n    xs.sort()", LISTS))[0] == FAIL


@pytest.mark.parametrize(
    "answer",
    [
        "import random\ndef add(a, b):\n    return random.random()",
        "n = 0\ndef add(a, b):\n    global n\n    n += 1\n    return a + b + n",
        "import no_such_module",
        "raise SystemExit",
    ],
)
def test_a_program_that_is_random_keeps_state_or_does_not_load_says_nothing(answer: str) -> None:
    assert (agreement(answer, OTHER))[0] == UNKNOWN
    assert (agreement(RIGHT, answer))[0] == UNKNOWN


def test_another_program_without_the_function_says_nothing_of_an_answer_that_has_it() -> None:
    lacks = "def other(a, b):\n    return 3"
    assert agreement(RIGHT, lacks) == (UNKNOWN, "the other program does not define add")
    assert agreement(lacks, OTHER)[0] == FAIL


@pytest.mark.parametrize(
    "answer",
    [
        "def add(a, b):\n    while True: pass",
        "def add(a, b):\n    return 'x' * (1 << 33)",
        "import os\ndef add(a, b):\n    os._exit(0)",
        "import os\ndef add(a, b):\n    os.write(3, b'\\xff' * 100); os.write(4, b'\\xff' * 100)",
    ],
)
def test_a_program_that_hangs_grows_or_breaks_the_stream_ends_within_the_limits(answer: str) -> None:
    assert (agreement(answer, OTHER))[0] == UNKNOWN


def test_what_was_compared_before_a_program_hangs_counts() -> None:
    hangs = "n = 0\ndef add(a, b):\n    global n\n    n += 1\n    while n > 40: pass\n    return a + b"
    verdict, detail = agreement(RIGHT, hangs)
    assert verdict == PASS, detail
    assert "38 of 38" in detail  # the two inputs that are given are called twice
