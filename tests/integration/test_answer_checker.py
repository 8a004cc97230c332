"""The answer checker: its verdicts, and what it says of them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from services.answer_checker.checker import MODULES, start_sandbox
from services.answer_checker.sandbox.layers import LANDLOCK, NAMESPACES, SECCOMP
from services.answer_checker.sandbox.processes import SandboxError
from services.shared.checks.registry import _installed
from services.shared.process.status import error_info
from tandem.method.errors import FailedPrecondition
from tandem.paths import REPOSITORY
from tandem.v1 import checking_pb2
from tests.integration.checking import ERROR, FAIL, LIMITS, PASS, RIGHT, UNKNOWN, Running, run_checker
from tests.unit.test_checks import install_documented_check

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_an_answer_that_does_what_the_prompt_says_passes(checker: Running) -> None:
    result = await checker.examples(RIGHT)
    assert (result.verdict, result.score, result.detail) == (PASS, 1.0, "2 examples hold")
    assert 0 < result.seconds < 2


async def test_it_works_where_files_of_this_user_are_for_nobody_else() -> None:
    before = os.umask(0o077)  # as in the local stack
    try:
        async with run_checker() as private:
            assert (await private.examples(RIGHT)).verdict == PASS
    finally:
        os.umask(before)


@pytest.mark.parametrize(
    ("answer", "detail", "score"),
    [
        ("def add(a, b):\n    return a * b", "add(1, 2) shows 2, not 3", 0.5),
        ("def add(a, b):\n    raise ValueError('no')", "add(1, 2) raised ValueError: no", 0.0),
        ("def add(a, b):\n    return c", "add(1, 2) raised NameError: name 'c' is not defined", 0.0),
        ("def add(a, b)", "the program raised SyntaxError: expected ':' (answer.py, line 10)", 0.0),
        ("def sum(a, b):\n    return a + b", "add(1, 2) shows nothing, not 3", 0.0),
        ("import nowhere\n" + RIGHT, "the program raised ModuleNotFoundError: No module named 'nowhere'", 0.0),
    ],
)
async def test_a_failure_says_in_words_what_is_wrong(checker: Running, answer: str, detail: str, score: float) -> None:
    result = await checker.examples(answer)
    assert (result.verdict, result.detail, result.score) == (FAIL, detail, score)


@pytest.mark.parametrize(
    "argument",
    [
        "assert add(1, 2) == 3",
        "import math\nassert math.isclose(add(1, 2), 3)",
        "def check(candidate):\n    assert candidate(1, 2) == 3\n\ncheck(add)",
        "for a in range(3):\n    assert add(a, 1) == a + 1",
        ">>> add(1, 2)\n3\n>>> add('a', 1)\nTraceback (most recent call last):\n    ...\nTypeError: no",
        ">>> x = add([1], [2])\n>>> x\n[1, 2]\n>>> print(x)\n[1, 2]",
    ],
)
async def test_a_caller_sends_tests_in_any_usual_form(checker: Running, argument: str) -> None:
    assert (await checker.examples(RIGHT, argument)).verdict == PASS
    assert (await checker.examples("def add(a, b):\n    return 0", argument)).verdict == FAIL


@pytest.mark.parametrize(
    ("answer", "argument"),
    [
        ("def f(xs):\n    xs.sort()", "xs = [2, 1]\nf(xs)\nassert xs == [1, 2]"),
        ("def f():\n    yield from (1, 2)", "assert list(f()) == [1, 2]"),
        ("from collections import Counter\ndef f(s):\n    return Counter(s)", "assert f('aab') == {'a': 2, 'b': 1}"),
        ("def f():\n    return float('nan')", "x = f()\nassert x != x"),
        (
            "def f():\n    return {(1, 2): {frozenset({3})}, b'x': 1j}",
            "assert f() == {(1, 2): {frozenset({3})}, b'x': 1j}",
        ),
        (
            "from fractions import Fraction\ndef f(x):\n    return x / 2",
            "from fractions import Fraction\nassert f(Fraction(1)) == Fraction(1, 2)",
        ),
        ("def f(n):\n    return 3 ** n", "assert f(300) == 3 ** 300"),
        ("def f():\n    print('hello')", ">>> f()\nhello"),
        ("class Node:\n    def __repr__(self):\n        return 'Node'\ndef f():\n    return Node()", ">>> f()\nNode"),
        ("def f():\n    raise KeyError('k')", "try:\n    f()\n    assert False\nexcept KeyError:\n    pass"),
    ],
)
async def test_values_cross_between_the_processes(checker: Running, answer: str, argument: str) -> None:
    result = await checker.examples(answer, argument, question="")
    assert (result.verdict, result.detail) == (PASS, result.detail), result.detail


async def test_an_answer_cannot_replace_what_the_prompt_compares_with(checker: Running) -> None:
    question = "def close(a, b):\n    return abs(a - b) < 0.1\n\ndef half(x):\n    ..."
    forged = "def close(a, b):\n    return True\n\ndef half(x):\n    return 7"
    assert (await checker.examples(forged, "assert close(half(1), 0.5)", question)).verdict == FAIL
    right = "def half(x):\n    return x / 2"
    assert (await checker.examples(right, "assert close(half(1), 0.5)", question)).verdict == PASS


@pytest.mark.parametrize(
    ("question", "argument", "detail"),
    [
        ("def f(x):\n    ...", "", "the examples that prove something count 0, and a pass needs 1"),
        (
            "def f(x):\n    # f(1) == 1\n    ...",
            "min=2",
            "the examples that prove something count 1, and a pass needs 2",
        ),
        (
            "def f(x):\n    # f(1) == True\n    ...",
            "weight=2",
            "the examples that prove something count 1, and a pass needs 2",
        ),
        (
            "import nowhere\ndef f(x):\n    ...",
            "assert f(1) == 1",
            "the prompt needs nowhere, which is not installed here",
        ),
        ("", "assert f(lambda: 1) == 1", "an argument is no literal"),
        ("", "assert f(1) == LIMIT", "name 'LIMIT' is not defined"),
        ("", "assert f(1) == f(2)", "the examples that prove something count 0, and a pass needs 1"),
        ("", "assert 1 == 2", "1 is 1, not 2, and the answer was not asked"),
    ],
)
async def test_where_nothing_can_be_compared_the_verdict_is_unknown(
    checker: Running, question: str, argument: str, detail: str
) -> None:
    result = await checker.examples("def f(x):\n    return 1", argument, question)
    assert (result.verdict, result.detail) == (UNKNOWN, detail)


@pytest.mark.parametrize(
    ("name", "argument", "right", "wrong", "detail"),
    [
        ("regex", r"\d+", " 42 ", "42 apples", "'42 apples' does not match"),
        ("regex", r"^\d+", "42 apples", "apples", "'apples' does not match"),
        ("choice", "red\ndark blue", "Dark  Blue", "green", "'green' is none of: red, dark blue"),
        ("json_schema", '{"required": ["a"]}', '```json\n{"a": 1}\n```', "{}", "'a' is a required property, at $"),
        ("json_schema", '{"type": "number"}', "1", "{", "the answer is not JSON"),
    ],
)  # fmt: skip
async def test_texts_are_compared(
    checker: Running, name: str, argument: str, right: str, wrong: str, detail: str
) -> None:
    assert (await checker.check(name, right, argument)).verdict == PASS
    failed = await checker.check(name, wrong, argument)
    assert failed.verdict == FAIL
    assert failed.detail.startswith(detail)


async def test_a_pattern_that_takes_for_ever_is_an_error_and_stops_nobody_else(checker: Running) -> None:
    slow = asyncio.ensure_future(checker.check("regex", "a" * 40 + "b", "(a+)+"))
    assert (await checker.check("regex", "1", r"\d")).verdict == PASS
    result = await slow
    assert (result.verdict, result.detail) == (ERROR, "it did not end within 3 s")


async def test_an_answer_that_is_too_large_is_an_error(checker: Running) -> None:
    result = await checker.examples("#" * (5 << 20))
    assert (result.verdict, result.detail[:12]) == (ERROR, "a message of")


async def test_a_sandbox_that_runs_no_programs_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.answer_checker.examples_check.EVALUATOR", "services.answer_checker.inside.text_check")
    with pytest.raises(SandboxError, match="programs do not run in this sandbox: error"):
        await start_sandbox(allow_weak=False)


async def test_what_is_readable_may_lie_below_the_mount_point(tmp_path: Path) -> None:
    """As a clone in the temporary folder does."""
    (tmp_path / "kept").write_text("held")
    entered = "import sys; from services.answer_checker.sandbox.namespaces import enter; "
    entered += "enter([sys.argv[1]], sys.argv[2], '/scratch', 1 << 20); print(open(sys.argv[1]).read())"
    command = [sys.executable, "-c", entered, str(tmp_path / "kept"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)  # noqa: ASYNC221
    assert done.stdout == "held\n", done.stderr


async def test_an_installed_check_runs_in_the_sandbox_and_may_break(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_documented_check(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    _installed.cache_clear()
    async with run_checker() as running:
        assert (await running.check("even", "4")).verdict == PASS
        assert (await running.check("even", "5")).detail == "5 is odd"
        broken = await running.check("even", "five")
        assert broken.verdict == ERROR
        assert broken.detail.startswith("ValueError: invalid literal")
    _installed.cache_clear()


async def test_the_service_names_its_checks_and_its_isolation(checker: Running, in_a_pod: Running) -> None:
    info = await checker.stub.GetCheckerInfo(checking_pb2.GetCheckerInfoRequest())
    assert set(info.checks) >= {"python_examples", "json_schema", "regex", "choice"}
    assert set(info.isolation) == {NAMESPACES, LANDLOCK, SECCOMP, "rlimits"}
    info = await in_a_pod.stub.GetCheckerInfo(checking_pb2.GetCheckerInfoRequest())
    assert set(info.isolation) == {LANDLOCK, SECCOMP, "rlimits"}


async def test_a_cancelled_call_ends_its_processes(checker: Running) -> None:
    call = asyncio.ensure_future(checker.examples("while True:\n    pass"))
    async with asyncio.timeout(30):
        while len(checker.fork_server.children(recursive=True)) < 4:  # two processes with their supervisors
            await asyncio.sleep(0.01)
    call.cancel()
    began = asyncio.get_running_loop().time()
    await checker.nothing_runs()
    assert asyncio.get_running_loop().time() - began < LIMITS.seconds


async def test_a_call_that_finds_the_queue_full_is_refused() -> None:
    async with run_checker(concurrency=1, max_waiting=1) as checker:
        calls = [asyncio.ensure_future(checker.examples("while True:\n    pass")) for _ in range(3)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        [refused] = [outcome for outcome in outcomes if isinstance(outcome, grpc.aio.AioRpcError)]
        assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert error_info(refused).reason == "QUEUE_FULL"
        assert (await checker.examples(RIGHT)).verdict == PASS


async def test_an_unknown_check_is_refused_by_name(checker: Running) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await checker.check("nobody", "answer")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error_info(caught.value).reason == "UNKNOWN_CHECK"
    assert "'nobody'; known: agreement, call, choice, json_schema, python_agreement, python_examples, regex" in str(
        caught.value.details()
    )


@pytest.mark.parametrize(
    "without",
    [(NAMESPACES, LANDLOCK, SECCOMP), (NAMESPACES, LANDLOCK), (SECCOMP,), (NAMESPACES, SECCOMP), (LANDLOCK, SECCOMP)],
)
async def test_a_kernel_that_guards_no_files_is_refused_unless_that_is_allowed_by_name(
    without: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(FailedPrecondition, match="TANDEM_CHECKER_ALLOW_WEAK_SANDBOX=true"):
        await start_sandbox(allow_weak=False, without=without)
    sandbox = await start_sandbox(allow_weak=True, without=without)
    assert not set(without) & set(sandbox.isolation.holds)
    assert "programs run all the same, since TANDEM_CHECKER_ALLOW_WEAK_SANDBOX=true" in caplog.text
    await sandbox.stop()


async def test_a_layer_that_a_kernel_accepts_and_does_not_follow_does_not_hold() -> None:
    with pytest.raises(FailedPrecondition, match="landlock: the kernel accepts it, and refuses nothing"):
        await start_sandbox(
            allow_weak=False, without=(NAMESPACES,), modules=(*MODULES, "tests.integration.no_landlock")
        )
