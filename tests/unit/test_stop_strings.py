"""Stop strings: what is let through of a text, what is held back, and where it ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.models.engine.text import Detokenizer, StopStrings
from tests.fakes import ByteTokenizer

LETTERS = st.text("ab\né", max_size=24)
STRINGS = st.lists(st.text("ab\né", min_size=1, max_size=4), max_size=4)


def let_through(strings: list[str], pieces: list[str]) -> tuple[list[str], StopStrings]:
    stops = StopStrings(strings)
    return [stops.push(piece) for piece in pieces], stops


@pytest.mark.parametrize(
    ("strings", "pieces", "let", "has_matched"),
    [
        (["END"], ["so E", "N", "D and"], ["so ", "", ""], True),
        (["END"], ["so E", "N", "d"], ["so ", "", "ENd"], False),
        (["END"], ["so END it"], ["so "], True),
        (
            ["aab"],
            ["a", "a", "a", "b"],
            ["", "", "a", ""],
            True,
        ),  # the beginning of the match is not where it was first seen
        (["aXb", "aYb"], ["a", "Y", "b"], ["", "", ""], True),
        (["abcd", "bc"], ["a", "b", "c"], ["", "", "a"], True),  # the shorter one is complete first
        (["bc", "abc"], ["xa", "bc"], ["x", ""], True),  # both at once: neither is in the text
        (["né"], ["n", "é"], ["", ""], True),
        (["👩‍🔬"], ["a 👩", "‍🔬 b"], ["a ", ""], True),
        (["\n\n"], ["one\n", "two\n", "\nthree"], ["one", "\ntwo", ""], True),
        (["never"], ["all ", "of it"], ["all ", "of it"], False),
        ([], ["all ", "of it"], ["all ", "of it"], False),
    ],
)
def test_text_is_let_through_up_to_the_first_stop_string(
    strings: list[str], pieces: list[str], let: list[str], has_matched: bool
) -> None:
    got, stops = let_through(strings, pieces)
    assert (got, stops.has_matched) == (let, has_matched)


def test_what_was_held_back_is_given_at_the_end() -> None:
    got, stops = let_through(["\n\n"], ["one", "\n"])
    assert (got, stops.held, stops.last(), stops.last()) == (["one", ""], "\n", "\n", "")


def test_the_last_text_may_complete_a_string_and_an_abort_decides_nothing() -> None:
    _, stops = let_through(["END"], ["so EN"])
    assert (stops.last("D"), stops.has_matched) == ("", True)
    _, stops = let_through(["END"], ["so EN"])
    assert (stops.last("d", is_aborted=True), stops.held) == ("", "EN")
    _, stops = let_through([], ["so EN"])
    assert stops.last("d", is_aborted=True) == "d"


def test_nothing_follows_a_match() -> None:
    _, stops = let_through(["#"], ["a#", "b"])
    assert (stops.push("c"), stops.last()) == ("", "")


def test_a_text_goes_on_from_what_was_held_back() -> None:
    _, before = let_through(["END"], ["so E", "N"])
    after = StopStrings(["END"], before.held)
    assert (after.push("D"), after.has_matched) == ("", True)


@given(STRINGS, LETTERS, st.data())
def test_how_a_text_is_cut_into_tokens_changes_nothing(strings: list[str], text: str, data: st.DataObject) -> None:
    places = sorted(data.draw(st.sets(st.integers(0, len(text)))))
    pieces = [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]
    by_letters, whole = let_through(strings, list(text))
    cut, stops = let_through(strings, pieces)
    assert ("".join(cut), stops.held, stops.has_matched) == ("".join(by_letters), whole.held, whole.has_matched)


@given(STRINGS, LETTERS)
def test_what_is_let_through_is_the_text_up_to_the_match_and_holds_no_string(strings: list[str], text: str) -> None:
    got, stops = let_through(strings, list(text))
    whole = "".join(got) + stops.last()
    assert text.startswith(whole)
    assert not any(string in whole for string in strings)
    assert stops.has_matched == any(string in text for string in strings)
    if not stops.has_matched:
        assert whole == text


@given(STRINGS, LETTERS, LETTERS)
def test_another_text_after_what_was_let_through_is_judged_alone(strings: list[str], one: str, two: str) -> None:
    """An answer goes on from an insight: no stop string begins in the one and ends in the other."""
    got, stops = let_through(strings, list(one))
    following, end = let_through(strings, list(two))
    if not stops.has_matched:
        joined = "".join(got + following) + end.last()
        assert not any(string in joined for string in strings)


@pytest.mark.parametrize("number", range(1, 5))
def test_a_text_that_is_resumed_within_a_character_loses_nothing(number: int) -> None:
    tokens = list("a🧪b".encode())
    first = Detokenizer(ByteTokenizer(), [])
    before = "".join(first.push(token) for token in tokens[:number])
    second = Detokenizer(ByteTokenizer(), tokens[:number], is_resumed=True)
    assert before + "".join(second.push(token) for token in tokens[number:]) == "a🧪b"
