"""One equality for each kind of answer: what two models agree on, and what no text can tell."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tandem.method.conversation import Message, kind_of
from tandem.method.evidence.doubt import doubt
from tandem.method.evidence.same_answer import NO_CALL, AnswerKind, answer_kind, judged_loss, normal_form, same
from tandem.method.tools import Call, Tool, ToolCall

WEATHER = Tool(
    "weather.get",
    parameters=json.dumps(
        {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer", "default": 1},
                "unit": {"enum": ["C", "F"], "default": "C"},
                "day": {"type": "string", "format": "date-time"},
            },
            "required": ["city", "days"],
        }
    ),
)
CALLS = AnswerKind("calls", (WEATHER,))


def call(name: str = "weather.get", **arguments: Any) -> Call:
    return name, json.dumps(arguments)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([call(city="New York", days=2)], [call("weather_get", days=2.0, city="New York")], True),
        ([call(city="Bonn", days=2, unit="c")], [call(city="Bonn", days=2)], True),  # the default, as its enum has it
        ([call(city="Bonn", days=2, unit="c ")], [call(city="Bonn", days=2, unit="F")], False),
        ([call(day="2026-12-03t10:00z")], [call(day="2026-12-03T10:00Z")], True),
        ([call(city="tar -C a")], [call(city="tar -c a")], False),
        ([call(city="git branch -d x")], [call(city="git branch -D x")], False),
        ([call(city="if a:\n  b\nc")], [call(city="if a:\n  b\n  c")], False),
        ([call(city="Bonn", days=1)], [call(city="Bonn")], False),  # required, so its default is no answer
        ([call(city="Bonn", days="2")], [call(city="Bonn", days=2)], False),
        ([call(city="Bonn", days=True)], [call(city="Bonn", days=1)], False),
        ([call(city="Bonn", days=2**53)], [call(city="Bonn", days=2**53 + 1)], False),
        (
            [call(city="Bonn", days=1), call(city="Ulm", days=1)],
            [call(city="Ulm", days=1), call(city="Bonn", days=1)],
            True,
        ),
        ([call(city="Bonn", days=1)] * 2, [call(city="Bonn", days=1)], False),
        ([call(place=["a", "b"])], [call(place=["b", "a"])], False),
        ([], [], True),
        ([], [call(city="Bonn", days=1)], False),
        ([("weather.get", "{")], [("weather.get", "{")], None),
        ([("weather.get", "[1]")], [call(city="Bonn", days=1)], False),
    ],
)
def test_calls_are_the_same_by_names_and_values(one: list[Call], other: list[Call], expected: bool | None) -> None:
    assert same(CALLS, one, other) is same(CALLS, other, one) is expected


def test_calls_that_are_kept_as_their_normal_form_are_compared_with_calls() -> None:
    assert same(CALLS, normal_form(CALLS, [call(city="Bonn", days=2)]), [call(city="Bonn", days=2)])
    assert same(CALLS, NO_CALL, []) is True


@pytest.mark.parametrize(
    ("kind", "one", "other", "expected"),
    [
        ("answer", "Berlin", " berlin.", True),
        ("answer", "$1,234", "1234.0 dollars", True),
        ("answer", "1/2", "0.5", True),
        ("answer", ".5", "5", False),
        ("answer", "5!", "5", False),
        ("answer", "18 dollars", "18 cents", False),
        ("answer", "1/0", "2/0", False),
        ("answer", "(B)", "B", True),
        ("answer", "A. Lincoln", "A. Einstein", False),
        ("answer", "", "", None),
        ("option", "B) Paris", "(b)", True),
        ("option", "B", "C", False),
        ("json", '{"a": 1, "b": "x Y"}', '{"b":"x Y","a":1.0}', True),
        ("json", '{"b": "x Y"}', '{"b": "x y"}', False),
        ("json", '{"a": 1}', '{"a": 2}', False),
        ("json", '{"a": 1}', "one", False),
        ("json", "one", "one", None),
        ("program", "def f(): pass", "def f(): pass\n", True),
        ("program", "def f(): pass", "def F(): pass", None),
        ("text", "A  poem.", "a poem", True),
        ("text", "A poem.", "Another one.", None),
    ],
)
def test_answers_are_compared_whatever_their_form(kind: Any, one: str, other: str, expected: bool | None) -> None:
    assert same(AnswerKind(kind), one, other) is same(AnswerKind(kind), other, one) is expected


def test_json_is_compared_by_its_schema() -> None:
    schema = json.dumps({"type": "object", "properties": {"a": {"enum": ["Yes", "No"], "default": "Yes"}}})
    assert same(AnswerKind("json", json_schema=schema), '{"a": "yes"}', "{}") is True
    assert same(AnswerKind("json"), '{"a": "yes"}', "{}") is False


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("Which town?\nA) Paris\nB) Rome", "option"),
        ("Which town?\n  a. Paris\n  b. Rome\n", "option"),
        ("Which town? (A) Paris (B) Rome (C) Bonn", "option"),
        ("What is (a) and (b) of f(a) = b?", "option"),  # rather the large model once too often
        ("A train leaves A. B follows at 3 pm. When do they meet?", "answer"),
        ("A. Lincoln was born when?", "answer"),
    ],
)
def test_a_question_that_lists_options_asks_for_one_of_them(question: str, kind: str) -> None:
    assert kind_of("answer", "", question=question) == kind
    assert kind_of("chat", "", question=question) == "chat"
    assert kind_of("answer", "{}", question=question) == "json"


def test_free_text_is_never_evidence() -> None:
    assert not answer_kind("chat").is_evidence
    assert all(answer_kind(kind).is_evidence for kind in ("answer", "code", "json", "tools", "option"))


def test_the_same_call_again_is_doubted_whatever_its_form() -> None:
    before = Message("assistant", "", (ToolCall("1", "weather.get", '{"city": "Bonn", "days": 2}'),))
    assert doubt([call(city="Bonn", days=2.0)], [before])
    assert not doubt([call(city="Ulm", days=2)], [before])


def test_formulas_are_compared_by_math_verify_where_it_is_given() -> None:
    pytest.importorskip("math_verify")
    from lab.training.final_answers import is_same_answer

    kind, one, other = AnswerKind("answer"), "\\frac{\\sqrt{3}}{3}", "\\frac{1}{\\sqrt{3}}"
    assert same(kind, one, other) is False
    assert same(kind, one, other, is_same_answer) is True


def test_a_judge_that_says_neither_word_says_nothing() -> None:
    assert judged_loss("It is worse.\n\\boxed{same}") == 0.0
    assert judged_loss("\\boxed{worse}") == 1.0
    assert judged_loss("I cannot tell") is None
