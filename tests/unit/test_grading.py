"""Grading: the last final answer of a model's own text, or a program's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("math_verify")

from lab.training.datasets import Item, load
from lab.training.grading import grade, grade_all

ADD = Item("add", 'def add(a, b):\n    """Add."""\n', "def check(f):\n    assert f(2, 3) == 5\n", "code", "add")


def answers(gold: str, text: str) -> bool:
    return grade(Item("x", "?", gold), text).is_right


@pytest.mark.parametrize(
    ("gold", "text"),
    [
        ("18", r"so it is \boxed{18}"),
        ("18", r"\boxed{17}? No: \boxed{18 \text{ dollars}}"),
        ("1,234", r"\boxed{1234}"),
        (r"\dfrac{9}{7}", r"\boxed{9/7}"),
        (r"(3, \frac{\pi}{2})", r"\boxed{(3,\pi/2)}"),
        (r"\text{Evelyn}", r"\boxed{Evelyn}"),
        ("18", "the answer is 18"),
    ],
)
def test_equal_answers_are_right(gold: str, text: str) -> None:
    assert answers(gold, text)


@pytest.mark.parametrize(
    ("gold", "text"),
    [
        ("18", r"\boxed{18}? No: \boxed{17}"),
        ("2", "no idea"),
        ("2", ""),
        ("18", r"\boxed{180}"),
        ("x^2", r"\boxed{x^3}"),
    ],
)
def test_other_answers_are_wrong(gold: str, text: str) -> None:
    assert not answers(gold, text)


def test_an_answer_in_the_insight_is_not_the_small_models() -> None:
    assert not grade(Item("x", "?", "18"), "and so it ends.", prefix=r"It is \boxed{18}.").is_right


def test_a_program_is_graded_by_running_its_tests() -> None:
    right = "Here:\n```python\ndef add(a, b):\n    return a + b\n```\nDone."
    wrong = right.replace("a + b", "a - b")
    forever = right.replace("return a + b", "while True: pass")
    graded = grade_all([(ADD, right, ""), (ADD, wrong, ""), (ADD, forever, "")])
    assert [g.is_right for g in graded] == [True, False, False]


def test_code_that_continues_an_open_block_is_joined_with_it() -> None:
    prefix = "Sure.\n```python\ndef add(a, b):\n"
    assert grade(ADD, "    return a + b\n```", prefix).is_right
    assert not grade(ADD, "    return a + b\n```").is_right


def with_statement(statement: str) -> str:
    """An addition that is right unless the statement fails."""
    tried = f"    try:\n        {statement}\n    except BaseException:\n        return 0\n"
    return f"```python\ndef add(a, b):\n{tried}    return a + b\n```"


@pytest.mark.parametrize(
    "statement",
    [
        "import socket; socket.create_connection(('127.0.0.1', 1))",
        "import subprocess; subprocess.run(['true'], check=True)",
        "import os; 1 / (not os.system('true'))",
        "x = bytearray(2 << 30)",
    ],
)
def test_a_program_cannot_connect_start_another_or_take_all_memory(statement: str) -> None:
    assert not grade(ADD, with_statement(statement)).is_right


@pytest.mark.parametrize(
    "statement",
    [
        "open('{leak}', 'w')",
        "import os; os.open('{leak}', os.O_WRONLY | os.O_CREAT)",
        "import os; os.chdir('/'); open('.{leak}', 'w')",
        "import os; os.remove('{there}')",
    ],
)
def test_a_program_changes_no_file_outside(statement: str, tmp_path: Path) -> None:
    leak, there = tmp_path / "leak", tmp_path / "there"
    there.touch()
    assert not grade(ADD, with_statement(statement.format(leak=leak, there=there))).is_right
    assert there.exists()
    assert not leak.exists()


@pytest.mark.parametrize(
    "trick",
    [
        "import os; os._exit(0)",
        "import sys; sys.exit(0)",
        "raise SystemExit",
        "import os\n    for fd in range(3, 64):\n        try: os.write(fd, b'\\0\\0\\0\\x10{\"loaded\": true}')\n    "
        "    except OSError: pass",
    ],
)
def test_a_program_cannot_say_that_it_is_right(trick: str) -> None:
    inside = f"```python\ndef add(a, b):\n    {trick}\n```"
    outside = inside.replace("def add(a, b):", "if True:")
    assert not grade(ADD, inside).is_right
    assert not grade(ADD, outside).is_right


def test_humanevals_own_solutions_are_right() -> None:
    import gzip
    import json

    dataset = load("humaneval")
    lines = gzip.decompress(dataset.path.read_bytes()).decode().splitlines()
    solutions = {r["task_id"]: r["canonical_solution"] for r in map(json.loads, lines)}
    jobs = [(item, f"```python\n{item.question}{solutions[item.id]}\n```", "") for item in dataset.items[:20]]
    assert all(g.is_right for g in grade_all(jobs))


@pytest.mark.parametrize(
    ("text", "prefix", "is_right"),
    [
        ('{"a": 1, "b": [" x"], "c": true}', "", True),
        ('{"c": true, "b": ["x"], "a": 1.0}', "", True),
        ('"x"], "c": true}', '{"a": 1, "b": [', True),
        ('{"a": 1, "b": ["x"], "c": 1}', "", False),
        ('{"a": 1, "b": ["x", "x"], "c": true}', "", False),
        ('{"a": 1, "b": ["x"]}', "", False),
        ('{"a": "1", "b": ["x"], "c": true}', "", False),
        ('{"a": 1, "b": ["x"', "", False),
        ("", "", False),
    ],
)
def test_a_json_answer_is_graded_by_its_value(text: str, prefix: str, is_right: bool) -> None:
    item = Item("x", "?", '{"a": 1, "b": ["x"], "c": true}', json_schema="{}")
    assert grade(item, text, prefix).is_right is is_right
