"""JSON is looked at before it is parsed: how many values it has, and how deep it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.method.json_text import MOST_DIGITS
from tandem.openai import json_body
from tandem.openai.json_body import MOST_DEPTH, MOST_VALUES, read_json
from tandem.openai.parameters import RefusedParameter

LEAVES = st.none() | st.booleans() | st.integers() | st.text('ab"\\[]{},:\n\u00e9', max_size=6)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('a"\\[{,', max_size=3), inner, max_size=4),
)


def refused(body: str) -> str:
    with pytest.raises(RefusedParameter) as refusal:
        read_json(body.encode())
    return str(refusal.value)


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


def depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


def commas_and_brackets(value: Any) -> int:
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(len(inner) - 1, 0) + sum(map(commas_and_brackets, inner))


@given(VALUES, st.booleans())
def test_what_is_counted_is_what_is_there(value: Any, is_ascii: bool) -> None:
    text = json.dumps(value, ensure_ascii=is_ascii)
    most, levels = commas_and_brackets(value), depth(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_body, "MOST_VALUES", max(most, 1))
        patch.setattr(json_body, "MOST_DEPTH", max(levels, 0))
        assert read_json(text.encode()) == value
        if levels:
            patch.setattr(json_body, "MOST_DEPTH", levels - 1)
            assert "levels" in refused(text)
        if most > 1:
            patch.setattr(json_body, "MOST_VALUES", most - 1)
            assert "values" in refused(text)


def test_text_may_hold_as_many_brackets_and_commas_as_it_likes() -> None:
    question = {"question": '[{,"\\' * 100_000}
    assert read_json(json.dumps(question).encode()) == question


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (json.dumps([0] * (MOST_VALUES + 1)), "values"),
        (json.dumps({"messages": [{"role": "user", "content": ""}] * 65_000}), "values"),
        (json.dumps(["a"] * MOST_VALUES * 2), "values"),
        ("[" + "{}," * 100_000 + "{}]", "values"),
        (nested(MOST_DEPTH + 1), "levels"),
        ("[" * 30_000, "levels"),
        ("[" * 1_900_000, "values"),
        ("]" * 1_900_000 + nested(200), "no JSON"),
        ('"' * 1_900_000, "no JSON"),
        ('["' + "\\" * 1_900_000, "no JSON"),
        ("1" * 5_000, "5000 digits"),
        (json.dumps({"stop": [10**MOST_DIGITS] * 500}), "310 digits"),
        ("{", "no JSON"),
    ],
    ids=lambda value: value[:12],
)
def test_what_is_too_much_or_no_json_is_refused(body: str, why: str) -> None:
    assert why in refused(body)


def test_at_the_bounds_it_is_read() -> None:
    assert read_json(b"-" + b"9" * MOST_DIGITS) == 1 - 10**MOST_DIGITS
    assert read_json(nested(MOST_DEPTH).encode())
    assert len(read_json(json.dumps([0] * MOST_VALUES).encode())) == MOST_VALUES


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1"])
def test_other_encodings_than_utf_8_are_no_json(encoding: str) -> None:
    with pytest.raises(RefusedParameter, match="no JSON"):
        read_json('{"a": "é"}'.encode(encoding))
