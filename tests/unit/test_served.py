"""Grading what a system served, and options of `tandem eval` that do not go together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lab.training.datasets import Dataset, Item
from lab.training.served import evaluate_served, lines_of
from tandem.cli import app

BILL = {
    "usd": 1.0, "usd_llm_alone": 2.0, "tflops_paper": 1.0, "tflops_full": 3.0, "tflops_llm_alone": 4.0, "seconds": None,
    "seconds_llm_alone": None,
}  # fmt: skip
USED = {"llm": {"output_tokens": 4, "overrun_tokens": 0}, "slm": {"output_tokens": 5, "overrun_tokens": 0}}


def line(answer: str, reasoning: str, **more: Any) -> dict[str, Any]:
    stop = {"stage": 1, "reason": "sufficient"}
    fields = {"id": "1", "answer": answer, "reasoning": reasoning, "complete": True, "stop": stop, "trials": []}
    return {**fields, "cost": BILL, "usage": USED, "error": None, **more}


def is_right(gold: str, answer: str, reasoning: str, question: str = "?", **more: Any) -> bool:
    data = Dataset("sums", Path("sums.jsonl"), "", (Item("1", question, gold, **more),))
    return evaluate_served(data, [line(answer, reasoning)], 3, 1).accuracy.mean == 1.0


@pytest.mark.parametrize(
    ("gold", "answer", "reasoning", "expected"),
    [
        ("18", "18", r"6 * 3, so \boxed{18}", True),
        ("18", "It is 17, then 18", "It is 17, then 18", True),
        ("18", "17", r"\boxed{18}, no: \boxed{17}", False),
        # Only the small model's own text counts: the insight's box is not its answer.
        ("18", "it is unknown", r"\boxed{18} it is unknown", False),
        ("x^2", "x^{2}", r"the square \boxed{x^{2}}", True),
    ],
)
def test_a_served_answer_is_graded_as_a_collected_one(gold: str, answer: str, reasoning: str, expected: bool) -> None:
    assert is_right(gold, answer, reasoning) is expected


def test_a_program_and_a_json_text_are_graded_by_what_they_do_and_say() -> None:
    test = "def check(f):\n    assert f(2, 3) == 5\n"
    code: dict[str, Any] = {"task": "code", "entry_point": "add", "question": 'def add(a, b):\n    """Add."""\n'}
    assert is_right(test, "def add(a, b):\n    return a + b", "", **code)
    assert not is_right(test, "def add(a, b):\n    return a - b", "", **code)
    assert is_right('{"a": 1}', '{"a":1.0}', "", json_schema="{}")


def test_costs_are_relative_to_the_bills_estimates_and_absent_where_a_bill_has_none() -> None:
    data = Dataset("sums", Path("sums.jsonl"), "", (Item("1", "?", "18"), Item("2", "?", "18")))
    unasked = {"id": "2", "answer": None, "error": {"code": "budget_exhausted", "message": ""}}
    found = evaluate_served(data, [line("18", "18"), unasked], 3, 1)
    assert {unit: ratio.mean for unit, ratio in found.relative.items()} == {"full": 0.75, "usd": 0.5}
    assert (found.figures.n, found.unanswered) == (1, {"budget_exhausted": 1})
    assert found.figures.stop_stages == {"0": 0, "1": 1, "2": 0, "3": 0, "llm": 0}


def test_each_question_is_a_line_of_a_batch_with_its_task_and_schema() -> None:
    items = [
        Item("a", "q", "1"),
        Item("b", "def f", "t", task="code"),
        Item("c", "r", "{}", json_schema='{"type": "object"}'),
    ]
    assert lines_of(items, "pair") == [
        {"id": "a", "question": "q", "profile": "pair", "task": "answer"},
        {"id": "b", "question": "def f", "profile": "pair", "task": "code"},
        {"id": "c", "question": "r", "profile": "pair", "task": "answer", "json_schema": {"type": "object"}},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--through-batch", "--methods", "slm"], "--methods"),
        (["--through-batch", "--no-ask"], "--ask"),
        (["--max-cost", "1"], "--max-cost"),
        (["--again"], "--again"),
    ],
)
def test_an_option_of_the_other_way_is_refused_by_name(options: list[str], named: str) -> None:
    found = CliRunner().invoke(app, ["eval", "--data", "gsm8k", *options])
    assert found.exit_code == 2
    assert f"Invalid value for {named}" in found.output
