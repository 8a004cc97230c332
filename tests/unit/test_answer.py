from __future__ import annotations

import pytest

from tandem.method.answer import final_answer, shown_text


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{42}.", "42"),
        (r"first \boxed{1}, no: \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{3} and then cut \boxed{4", "3"),
        (r"\boxed{ }", ""),
        ("  Paris \n", "Paris"),
        ("", ""),
    ],
)
def test_the_last_complete_box_counts(text: str, answer: str) -> None:
    assert final_answer(text, "boxed") == answer


def test_a_text_answer_is_the_whole_text() -> None:
    assert final_answer(r" \boxed{1} ", "text") == r"\boxed{1}"


@pytest.mark.parametrize("answer_format", ["boxed", "text", "whole"])
def test_a_reader_is_shown_all_that_was_written(answer_format: str) -> None:
    written = shown_text("is gone. So \\boxed{410}.\n", answer_format, "First, it ")
    assert written == "First, it is gone. So \\boxed{410}."


def test_of_a_program_and_of_json_a_reader_is_shown_the_final_answer() -> None:
    assert shown_text("Here:\n```python\nx = 1\n```", "code") == "x = 1"
    assert shown_text(' 1, "b": 2}', "json", '{"a":') == '{"a":1,"b":2}'


@pytest.mark.parametrize(
    ("text", "continued", "code"),
    [
        ("Here:\n```python\ndef f():\n    return 1\n```\nDone.", "", "def f():\n    return 1"),
        ("```python\nold\n```\nbetter:\n```python\nnew\n```", "", "new"),
        ("```python\nnever closed", "", "never closed"),
        ("    return 1\n```", "```python\ndef f():\n", "def f():\n    return 1"),
        ("```python\nmine\n```", "```python\ntheirs\n```\n", "mine"),
        ("def f(): pass", "", "def f(): pass"),
    ],
)
def test_the_answer_to_a_programming_task_is_its_last_block_of_code(text: str, continued: str, code: str) -> None:
    assert final_answer(text, "code", continued) == code


@pytest.mark.parametrize(
    ("text", "continued", "answer"),
    [
        ('{"a": 1,\n "b": "é"}\n', "", '{"a":1,"b":"é"}'),
        ('1, "b": [2]}', '{"a": ', '{"a":1,"b":[2]}'),
        ('{"a": 1}', "The answer is", '{"a":1}'),
        (' {"a": ', "", '{"a":'),
        ("null", "", "null"),
    ],
)
def test_a_json_answer_is_the_whole_text_in_its_compact_form(text: str, continued: str, answer: str) -> None:
    assert final_answer(text, "json", continued) == answer
