"""Calls are graded by the leaderboard's own rules, of which these examples are published in the training file."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest

from lab.calls.grading import is_right
from lab.calls.tasks import CallTask, load

pytest.importorskip("bfcl_eval", reason="a development dependency: make develop")


@cache
def task(name: str) -> CallTask:
    return next(each for each in load("train").items if each.id == name)


def first_allowed(task: CallTask) -> list[tuple[str, str]]:
    """Calls with the first allowed value of each argument that a function requires, or that may not be left out."""
    required = {function["name"]: function["parameters"]["required"] for function in task.functions}
    calls = []
    for call in task.answer:
        [(name, allowed)] = call.items()
        given = {key: _first(v) for key, v in allowed.items() if "" not in v or key in required[name]}
        calls.append((name, json.dumps(given)))
    return calls


def _first(values: list[Any]) -> Any:
    """Values inside a value have lists of allowed ones too, where it is an object. An empty text stands for none."""
    values = [value for value in values if value != ""] or values
    if isinstance(values[0], dict):
        return {key: _first(each) for key, each in values[0].items() if "" not in each}
    if isinstance(values[0], list) and values[0] and isinstance(values[0][0], dict):
        return [_first([each]) for each in values[0]]
    return values[0]


def shuffled(**arguments: Any) -> list[tuple[str, str]]:
    return [("cards.shuffle_and_draw", json.dumps(arguments))]


def booked(**arguments: Any) -> list[tuple[str, str]]:
    right = {
        "hotel_name": "Plaza Hotel",
        "location": "New York, NY",
        "start_date": "2022-06-01",
        "end_date": "2022-06-04",
    }
    return [("hotel_booking", json.dumps(right | arguments))]


def test_the_published_answers_of_the_training_file_are_right_but_one() -> None:
    wrong = [each.id for each in load("train").items if not is_right(each, first_allowed(each))]
    assert wrong == ["live_multiple_964-207-0"]  # it lacks an argument that its function requires: no call can be right


@pytest.mark.parametrize(
    ("calls", "right"),
    [
        (shuffled(num_cards=3), True),
        (shuffled(num_cards=4), False),
        (shuffled(num_cards="3"), False),
        (shuffled(), False),
        (shuffled(num_cards=3, deck="all"), False),
        ([], False),
        (shuffled(num_cards=3) * 2, False),
        ([("cards_shuffle_and_draw", '{"num_cards": 3}')], False),
        ([("cards.shuffle_and_draw", "[3]")], False),
        ([("cards.shuffle_and_draw", '{"num_cards": ')], False),
    ],
)
def test_name_arguments_and_types_must_all_be_right(calls: list[tuple[str, str]], right: bool) -> None:
    assert is_right(task("simple_python_336"), calls) is right


@pytest.mark.parametrize(
    ("calls", "right"),
    [
        (booked(), True),
        (booked(hotel_name="plaza hotel"), True),  # case, spaces and some signs are no difference
        (booked(location="new york ny"), True),
        (booked(rooms=1), True),  # may be left out
        (booked(rooms=2), False),
        (booked(start_date="2022-06-02"), False),
    ],
)
def test_texts_are_compared_as_the_leaderboard_does(calls: list[tuple[str, str]], right: bool) -> None:
    assert is_right(task("simple_python_387"), calls) is right


def test_several_calls_may_come_in_any_order_but_none_may_be_missing() -> None:
    several = next(each for each in load("train").items if each.category == "parallel" and len(each.answer) == 3)
    calls = first_allowed(several)
    assert is_right(several, calls[::-1])
    assert not is_right(several, calls[:-1])


def test_where_no_function_fits_no_call_is_right() -> None:
    nothing = next(each for each in load("train").items if each.category == "irrelevance")
    assert is_right(nothing, [])
    assert not is_right(nothing, [(nothing.functions[0]["name"], "{}")])
