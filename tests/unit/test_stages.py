from __future__ import annotations

import pytest

from services.insight_generator.generator import StageSplitter
from services.models.engine.api import Token
from services.models.generation.attempt_log import Delta

LABELS = ("Planning:", "Action:", "")


def tokens(*texts: str) -> list[Token]:
    return [Token(i, t, 0.0) for i, t in enumerate(texts)]


def split(splitter: StageSplitter, generated: list[Token], reason: str, chunk: int) -> list[Delta]:
    deltas: list[Delta] = []
    for start in range(0, len(generated), chunk):
        deltas += splitter.push(generated[start : start + chunk])
    return deltas + splitter.flush("", reason)


def ends(deltas: list[Delta]) -> dict[int, str]:
    text, found = "", {}
    for delta in deltas:
        text += delta.text
        if delta.stage:
            found[delta.stage] = text
    return found


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_caps_end_stages_to_the_token(chunk: int) -> None:
    deltas = split(StageSplitter([2, 5], ()), tokens(*"abcde"), "length", chunk)
    assert ends(deltas) == {1: "ab", 2: "abcde"}
    assert [i for delta in deltas for i in delta.ids] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_sections_end_before_the_next_label_and_never_inside_one(chunk: int) -> None:
    generated = tokens("Goal", ": x", "\n", "Plan", "ning", ":", " y", ".\n", "Action", ":", " z")
    deltas = split(StageSplitter([50, 60, 70], LABELS), generated, "eos", chunk)
    assert ends(deltas) == {1: "Goal: x\n", 2: "Goal: x\nPlanning: y.\n", 3: "Goal: x\nPlanning: y.\nAction: z"}


def test_what_only_begins_like_a_label_is_released() -> None:
    splitter = StageSplitter([50, 60, 70], LABELS)
    assert splitter.push(tokens("\n", "Plan")) == [Delta("\n", (0,))]
    assert splitter.push(tokens("et")) == [Delta("Planet", (1, 0))]


def test_a_cap_ends_a_section_that_is_too_long() -> None:
    deltas = split(StageSplitter([3, 6, 9], LABELS), tokens(*"abcdefghi"), "length", 1)
    assert ends(deltas) == {1: "abc", 2: "abcdef", 3: "abcdefghi"}


def test_a_continuation_that_ends_by_itself_is_an_answer_and_no_stage() -> None:
    assert ends(split(StageSplitter([4, 8], ()), tokens(*"abcdef"), "eos", 1)) == {1: "abcd"}


def test_an_aborted_stage_has_not_ended() -> None:
    assert ends(split(StageSplitter([4, 8], LABELS), tokens(*"abcdef"), "aborted", 1)) == {1: "abcd"}


def test_a_budget_that_cuts_a_stage_ends_it() -> None:
    assert ends(split(StageSplitter([4, 6], ()), tokens(*"abcdef"), "length", 1)) == {1: "abcd", 2: "abcdef"}


def test_a_retry_goes_on_counting_where_the_last_stage_ended() -> None:
    assert ends(split(StageSplitter([2, 4], (), stage=1, tokens=2), tokens("c", "d"), "length", 1)) == {2: "cd"}
