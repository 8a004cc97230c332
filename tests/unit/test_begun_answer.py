"""Two answers that are being written: what is said to be impossible never happens, and what is impossible is seen."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tandem.method.evidence.begun_answer import Begun, agreed, can_still_agree, needless
from tandem.method.evidence.same_answer import Answer, AnswerKind, same
from tandem.method.tools import Call, Tool
from tests.unit.test_same_answer import CALLS, call

JSON = AnswerKind("json", json_schema=json.dumps({"properties": {"unit": {"default": "C"}}}))
SINGLE = replace(CALLS, is_single=True)
VALUES = [1, 1.0, 12, True, None, "C", "c ", "Bonn", ["a", {"b": 1}], -0.5, 1e3]


def cuts(answer: Answer) -> Iterator[Begun]:
    """All that an answer was while it was written, character by character."""
    if isinstance(answer, str):
        yield from (Begun(answer[:at]) for at in range(len(answer) + 1))
    else:
        for number, (name, arguments) in enumerate(answer):
            yield from (Begun((*answer[:number], (name, arguments[:at]))) for at in range(len(arguments) + 1))
    yield Begun(answer, is_over=True)


def some_values(draw: random.Random) -> dict[str, object]:
    keys = draw.sample(["city", "days", "unit", "more"], draw.randint(0, 4))
    return {key: draw.choice(VALUES) for key in keys}


def pairs(kind: AnswerKind, draw: random.Random) -> tuple[Answer, Answer]:
    """Two of few values, so that many are the same, written with other blanks and in another order."""

    def text(values: dict[str, object]) -> str:
        return json.dumps(dict(draw.sample(list(values.items()), len(values))), indent=draw.choice([None, 1]))

    if kind.form == "json":
        one, other = some_values(draw), some_values(draw)
        return text(one), text(draw.choice([one, other]))
    calls = [
        (draw.choice(["weather.get", "f"]), some_values(draw))
        for _ in range(draw.randint(0, 1 if kind.is_single else 3))
    ]
    others = draw.sample(calls, len(calls)) if draw.random() < 0.7 else calls[:1]
    return tuple((name, text(values)) for name, values in calls), tuple((name, text(values)) for name, values in others)


@pytest.mark.parametrize("kind", [CALLS, SINGLE, JSON], ids=["calls", "single", "json"])
def test_no_pair_that_ends_up_the_same_is_ever_said_to_be_impossible(kind: AnswerKind) -> None:
    draw, alike = random.Random(52), 0
    for _ in range(60):
        one, other = pairs(kind, draw)
        if not same(kind, one, other):
            continue
        alike += 1
        ones, others = list(cuts(one)), list(cuts(other))
        for begun in ones:
            for theirs in draw.sample(others, min(12, len(others))):
                assert can_still_agree(kind, begun, theirs), (begun, theirs)
                assert can_still_agree(kind, theirs, begun), (begun, theirs)
    assert alike > 20


def begun(*calls: Call, over: bool = False) -> Begun:
    return Begun(calls, over)


BONN, ULM = call(city="Bonn", days=2), call(city="Ulm", days=2)


@pytest.mark.parametrize(
    ("kind", "one", "other", "expected"),
    [
        (CALLS, begun(BONN, over=True), begun(("f", "")), False),  # another function's name
        (CALLS, begun(BONN, over=True), begun(("weather_get", "")), True),
        (CALLS, begun(BONN, over=True), begun(("weather.get", '{"city": "Ulm"')), True),  # it may be "Ulmen"
        (CALLS, begun(BONN, over=True), begun(("weather.get", '{"city": "Ulm",')), False),
        (CALLS, begun(BONN, over=True), begun(("weather.get", '{"unit": "c", "city": "Bonn", "da')), True),
        (CALLS, begun(BONN, over=True), begun(("weather.get", '{"city": "Bonn", "days": 2')), True),
        (CALLS, begun(BONN, over=True), begun(("weather.get", '{"city": "Bonn", "days": 1 ')), True),
        (CALLS, begun(BONN, over=True), begun(("weather.get", '{"city": "Bonn", "days": 1,')), False),
        (CALLS, begun(BONN, over=True), begun(("weather.get", '{"city": "Bonn"}')), False),  # it lacks one
        (CALLS, begun(BONN, over=True), begun(BONN, ("weather.get", "")), False),  # one call too many
        (CALLS, begun(BONN, ULM, over=True), begun(ULM, ("weather.get", '{"city": "Bonn",')), True),
        (CALLS, begun(over=True), begun(("weather.get", "")), False),  # no call
        (CALLS, begun(over=True), begun(), True),
        (CALLS, begun(("weather.get", "{"), over=True), begun(), False),  # which is no answer
        (CALLS, begun(BONN), begun(("f", "")), True),  # both may be made, in any order
        (SINGLE, begun(BONN), begun(("f", "")), False),
        (SINGLE, begun(("weather.get", '{"city": "Bonn",')), begun(("weather.get", '{"city": "Ulm",')), False),
        (SINGLE, begun(("weather.get", '{"unit": "C",')), begun(("weather.get", '{"unit": "F",')), False),
        (JSON, Begun('{"a": 1, "b"'), Begun('{"a": 2,'), False),
        (JSON, Begun('{"a": 1}', True), Begun('{"a": true,'), False),
        (JSON, Begun("[1]", True), Begun('{"a": 1,'), False),
        (JSON, Begun('{"a": 1}', True), Begun('{"unit": "C",'), True),
        (AnswerKind("option"), Begun("(B)", True), Begun("(C) bec"), False),
        (AnswerKind("option"), Begun("(B)", True), Begun("C"), True),  # "Certainly, B"
        (AnswerKind("answer"), Begun("18", True), Begun(r"so \boxed{17}, no,"), True),  # the last box counts
        (AnswerKind("answer"), Begun("18", True), Begun("17", True), False),
        (AnswerKind("text"), Begun("yes", True), Begun("no", True), False),
    ],
)
def test_what_can_still_be_the_same(kind: AnswerKind, one: Begun, other: Begun, expected: bool) -> None:
    assert can_still_agree(kind, one, other) is can_still_agree(kind, other, one) is expected


def test_who_still_writes_ends_where_it_cannot_count_or_all_is_decided() -> None:
    bonn, ulm, other = begun(BONN, over=True), begun(ULM, over=True), begun(("f", ""))
    assert needless(CALLS, [bonn, other], 2) == [1]
    assert needless(CALLS, [None, begun()], 2) == [1]  # the first has failed
    assert needless(CALLS, [bonn, begun()], 2) == []
    assert needless(CALLS, [bonn, ulm, begun()], 2) == []  # the third may agree with either
    assert needless(CALLS, [bonn, ulm, other], 2) == [2]
    assert needless(CALLS, [bonn, other, bonn], 2) == [1]  # two agree
    assert [agreed(CALLS, each, 2) for each in ([bonn, ulm], [bonn, bonn], [bonn, ulm, ulm])] == [None, 0, 1]


RECORDED = Path(__file__).parents[1] / "fixtures" / "calls_alike.jsonl"


def test_nor_over_calls_that_small_models_have_written_cut_anywhere() -> None:
    """Each line has two lists of calls for one task that are the same and were written differently."""
    draw, lines = random.Random(7), RECORDED.read_text().splitlines()
    for recorded in map(json.loads, lines):
        kind = AnswerKind("calls", tuple(Tool(**tool) for tool in recorded["tools"]))
        one, other = (tuple((name, arguments) for name, arguments in recorded[each]) for each in ("one", "other"))
        assert one != other
        assert same(kind, one, other)
        others = list(cuts(other))
        assert all(can_still_agree(kind, begun, draw.choice(others)) for begun in cuts(one)), recorded["id"]
    assert len(lines) > 30
