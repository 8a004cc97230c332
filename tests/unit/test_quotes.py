"""The check `quotes` of examples/checks: values of a JSON answer stand in the text, or nothing passes."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.checks.quotes_check import QUOTES
from services.shared.checks.api import Compared

TEXT = (
    "On 3 March 2025 Ann  Lee of Marlow Print ordered 1,250 pens and two lamps for EUR 99,50; phone +32 725 "
    "73970. No. 17862."
)
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


@pytest.mark.parametrize("argument", [" ", "{}", '"x-quoted"', "[" * 100_000])
def test_a_schema_without_the_keyword_is_refused(argument: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        QUOTES.validate(argument)


@pytest.mark.parametrize(
    "raw", ['"2025-02-30"', '"2025-13-01"', '"0000-00-00"', "1e999", "-1e999", "NaN", "Infinity", "1" + "0" * 400]
)
def test_what_is_no_date_and_no_number_stands_in_no_text(raw: str) -> None:
    assert QUOTES.compare
    assert QUOTES.compare(f"{TEXT} 32.13.2025", f'{{"found": {raw}}}', json.dumps(ALL)).verdict == "fail"


def test_an_impossible_date_that_is_written_so_stands_there() -> None:
    assert QUOTES.compare
    assert QUOTES.compare("Due 2025-02-30.", '{"due": "2025-02-30"}', json.dumps(ALL)).verdict == "pass"


def test_a_text_within_a_longer_word_does_not_count_as_another_one() -> None:
    assert QUOTES.compare
    assert QUOTES.compare("No. 17 of 1717", '{"a": "17", "b": "17"}', json.dumps(ALL)).verdict == "fail"


@given(st.decimals(-(10**15), 10**15, places=6) | st.integers(-(10**12), 10**12).map(Decimal), st.data())
def test_a_number_stands_there_to_its_last_digit_or_not_at_all(number: Decimal, data: st.DataObject) -> None:
    assert QUOTES.compare
    source = f"It is {number:f}, no more."
    assert QUOTES.compare(source, f'{{"n": {number:f}}}', json.dumps(ALL)).verdict == "pass"
    step = Decimal(1).scaleb(number.as_tuple().exponent)  # type: ignore[arg-type]
    other = number + data.draw(st.sampled_from([step, -step, 10 * step, Decimal("1e-12")]))
    assert QUOTES.compare(source, f'{{"n": {other:f}}}', json.dumps(ALL)).verdict == "fail"


@given(st.dates(), st.integers(0, 99), st.integers(0, 99), st.sampled_from(["%Y-%m-%d", "%d %B %Y", "%B %d, %Y"]))
def test_a_date_stands_there_only_if_it_is_that_day(day: date, month: int, number: int, form: str) -> None:
    assert QUOTES.compare
    source = day.strftime(form).replace(str(day.year), f"{day.year:04}")
    said = f"{day.year:04}-{month:02}-{number:02}"
    expected = "pass" if said == f"{day.year:04}-{day.month:02}-{day.day:02}" else "fail"
    assert QUOTES.compare(f"Due {source}.", json.dumps({"day": said}), json.dumps(ALL)).verdict == expected
