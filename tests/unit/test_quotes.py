"""The check `quotes`: values of a JSON answer stand in the text, or nothing passes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.checks.api import Compared
from services.checks.quotes import QUOTES
from services.checks.registry import validate
from tandem.method.checks import CheckSpec
from tandem.method.errors import InvalidArgument

TEXT = "On 3 March 2025 Ann  Lee of Marlow Print ordered 1,250 pens and two lamps for EUR 99,50; phone +32 725 73970. No. 17862."
ALL = {"type": "object", "x-quoted": True}


def said(answer: Any, schema: Any = ALL) -> Compared:
    assert QUOTES.compare
    return QUOTES.compare(TEXT, json.dumps(answer), json.dumps(schema))


@pytest.mark.parametrize(
    "value",
    ["ann lee", "Marlow Print", "2025-03-03", 1250, 99.5, 2, "+32 725 73970", ["pens", "17862"], {"name": "Ann Lee"}],
)
def test_a_value_that_stands_in_the_text_passes_whatever_its_form(value: Any) -> None:
    assert said({"found": value}).verdict == "pass"


@pytest.mark.parametrize("value", ["Ann", "Marlo", "2025-03-04", 1251, 50, "", "Ben Lee", 125])
def test_a_value_that_does_not_fails(value: Any) -> None:
    expected = "pass" if value == "Ann" else "fail"  # a part of a name stands in the text, too
    assert said({"found": value}).verdict == expected


def test_a_text_that_is_used_more_often_than_it_stands_there_fails() -> None:
    assert said({"house": "17862", "code": "17862"}).verdict == "fail"


@pytest.mark.parametrize("value", [True, None])
def test_what_cannot_be_looked_for_is_not_passed_unless_it_is_taken_out(value: Any) -> None:
    assert said({"name": "Ann Lee", "lift": value}).verdict == "unknown"
    taken_out = {**ALL, "properties": {"lift": {"x-quoted": False}}}
    assert said({"name": "Ann Lee", "lift": value}, taken_out).verdict == "pass"


def test_an_enum_is_not_looked_for_and_no_json_fails() -> None:
    schema = {**ALL, "properties": {"kind": {"enum": ["pens", "ink"]}}}
    assert said({"kind": "pens"}, schema).verdict == "unknown"
    assert QUOTES.compare
    assert QUOTES.compare(TEXT, "no JSON", json.dumps(ALL)).verdict == "fail"
    assert said({}).verdict == "unknown"


@pytest.mark.parametrize("argument", [" ", "{}", '{"x-quoted": true, "type": 5}'])
def test_a_schema_without_the_keyword_is_refused(argument: str) -> None:
    with pytest.raises(InvalidArgument):
        validate(CheckSpec("quotes", argument))
