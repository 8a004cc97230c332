from __future__ import annotations

from dataclasses import dataclass

import pytest

from services.insight_generator.stages import StageSplitter
from services.request_log.generation import Piece

LABELS = ("Planning:", "Action:", "")


@dataclass
class Made:
    id: int
    text: str
    generated_at: float = 0.0


def tokens(*texts: str) -> list[Made]:
    return [Made(i, t) for i, t in enumerate(texts)]


def split(splitter: StageSplitter, made: list[Made], reason: str, chunk: int) -> list[Piece]:
    pieces: list[Piece] = []
    for start in range(0, len(made), chunk):
        pieces += splitter.push(made[start : start + chunk])
    return pieces + splitter.flush("", reason)


def ends(pieces: list[Piece]) -> dict[int, str]:
    text, found = "", {}
    for piece in pieces:
        text += piece.text
        if piece.stage:
            found[piece.stage] = text
    return found


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_caps_end_stages_to_the_token(chunk: int) -> None:
    pieces = split(StageSplitter([2, 5], ()), tokens(*"abcde"), "length", chunk)
    assert ends(pieces) == {1: "ab", 2: "abcde"}
    assert [i for piece in pieces for i in piece.ids] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_sections_end_before_the_next_label_and_never_inside_one(chunk: int) -> None:
    made = tokens("Goal", ": x", "\n", "Plan", "ning", ":", " y", ".\n", "Action", ":", " z")
    pieces = split(StageSplitter([50, 60, 70], LABELS), made, "eos", chunk)
    assert ends(pieces) == {1: "Goal: x\n", 2: "Goal: x\nPlanning: y.\n", 3: "Goal: x\nPlanning: y.\nAction: z"}


def test_what_only_begins_like_a_label_is_released() -> None:
    splitter = StageSplitter([50, 60, 70], LABELS)
    assert splitter.push(tokens("\n", "Plan")) == [Piece("\n", (0,))]
    assert splitter.push(tokens("et")) == [Piece("Planet", (1, 0))]


def test_a_cap_ends_a_section_that_is_too_long() -> None:
    pieces = split(StageSplitter([3, 6, 9], LABELS), tokens(*"abcdefghi"), "length", 1)
    assert ends(pieces) == {1: "abc", 2: "abcdef", 3: "abcdefghi"}


def test_a_continuation_that_ends_by_itself_is_an_answer_and_no_stage() -> None:
    assert ends(split(StageSplitter([4, 8], ()), tokens(*"abcdef"), "eos", 1)) == {1: "abcd"}


def test_an_aborted_stage_has_not_ended() -> None:
    assert ends(split(StageSplitter([4, 8], LABELS), tokens(*"abcdef"), "aborted", 1)) == {1: "abcd"}


def test_a_budget_that_cuts_a_stage_ends_it() -> None:
    assert ends(split(StageSplitter([4, 6], ()), tokens(*"abcdef"), "length", 1)) == {1: "abcd", 2: "abcdef"}


def test_a_retry_goes_on_counting_where_the_last_stage_ended() -> None:
    assert ends(split(StageSplitter([2, 4], (), stage=1, tokens=2), tokens("c", "d"), "length", 1)) == {2: "cd"}
