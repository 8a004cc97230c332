"""The pieces of a reply: together they are the answer, whatever was lost and written again."""

from __future__ import annotations

from typing import Any

import pytest

from tandem.client.events import AnswerDelta, Completed, Event, InsightDelta, Restarted, Scored, StageCompleted
from tandem.client.live_text import LiveText, TextWasLost
from tandem.method.request.events import AnswerText
from tandem.v1 import tandem_pb2

SUFFICIENT = Scored(1, 0.9, 0.8, True, "words", True)
INSIGHT = [InsightDelta("We add ", 2), StageCompleted(1, "start", 2), InsightDelta("too much", 4)]


def shown(source: AnswerText, *events: Event) -> tuple[str, str]:
    live = LiveText(source)
    pieces = [live.push(event) for event in events]
    return "".join(piece.reasoning for piece in pieces), "".join(piece.content for piece in pieces)


def completed(answer: str, **fields: Any) -> Completed:
    return Completed(tandem_pb2.SolveResult(answer=answer, **fields))


def test_a_continuation_begins_with_the_stage_that_suffices() -> None:
    events = [*INSIGHT, SUFFICIENT, AnswerDelta("two", 1)]
    assert shown(AnswerText.CONTINUATION, *events) == ("We add too much", "We add two")
    assert shown(AnswerText.CONTINUATION, *events, completed("We add two.")) == ("We add too much", "We add two.")


def test_what_is_written_after_the_decision_is_not_shown() -> None:
    late = InsightDelta(" by far", 5)
    assert (
        shown(AnswerText.CONTINUATION, *INSIGHT, SUFFICIENT, late, AnswerDelta("two", 1), late)[0] == "We add too much"
    )
    early = [*INSIGHT[:2], SUFFICIENT, *INSIGHT[2:], AnswerDelta("two", 1)]
    assert shown(AnswerText.CONTINUATION, *early) == ("We add ", "We add two")


def test_at_the_end_the_reasoning_is_what_the_answer_was_written_from() -> None:
    live = LiveText(AnswerText.UNSPECIFIED)
    for event in (*INSIGHT, AnswerDelta("two", 1)):
        live.push(event)
    assert live.reasoning == "We add too much"
    live.push(completed("2", stop={"stage": 1, "reason": tandem_pb2.STOP_REASON_BEST_STAGE}))
    assert live.reasoning == "We add "


def test_a_continuation_waits_for_its_stage() -> None:
    live = LiveText(AnswerText.CONTINUATION)
    assert [live.push(event).content for event in (*INSIGHT, AnswerDelta("two", 1), SUFFICIENT)] == [
        "", "", "", "", "We add two"
    ]  # fmt: skip


def test_where_no_stage_suffices_the_answer_comes_at_the_end() -> None:
    assert (
        shown(AnswerText.CONTINUATION, *INSIGHT, AnswerDelta("x", 1), completed("We add too muchx"))[1]
        == "We add too muchx"
    )
    assert shown(AnswerText.UNSPECIFIED, *INSIGHT, AnswerDelta("x", 1), completed("7")) == ("We add too much", "7")


def test_white_space_at_the_ends_is_not_part_of_the_answer() -> None:
    live = LiveText(AnswerText.ANSWER)
    texts = [live.push(AnswerDelta(text, n)).content for n, text in enumerate((" \n", "a ", " b", "\n"), 1)]
    assert texts == ["", "a", "  b", ""]
    assert live.push(completed("a  b")).content == ""


def test_a_text_that_is_written_again_is_shown_once() -> None:
    events = [InsightDelta("We ", 1), StageCompleted(1, "start", 1), InsightDelta("add", 2), Restarted("llm", 1, 2)]
    again = [InsightDelta("ad", 2), InsightDelta("d two", 3)]
    assert shown(AnswerText.INSIGHT, *events, *again, completed("We add two")) == ("", "We add two")
    assert shown(AnswerText.UNSPECIFIED, *events, *again, completed("2")) == ("We add two", "2")


def test_a_stream_that_cannot_be_mended_says_so() -> None:
    events = [InsightDelta("We add", 1), Restarted("llm", 0, 2), InsightDelta("We subtract", 1)]
    with pytest.raises(TextWasLost):
        shown(AnswerText.INSIGHT, *events, completed("We subtract"))


def test_where_tools_may_be_called_the_large_models_text_is_shown_as_far_as_it_is_no_call() -> None:
    events = [InsightDelta("Hm. ", 2, 4), InsightDelta("<call>", 3, 4), InsightDelta("w {}</call>", 5, 4)]
    live = LiveText(AnswerText.MESSAGE)
    assert [live.push(event).content for event in [*events, completed("Hm.")]] == ["Hm.", "", "", ""]
    again = [Restarted("llm", 0, 2), InsightDelta("H", 1, 1), InsightDelta("m. So", 2, 6)]
    assert shown(AnswerText.MESSAGE, *events, *again, completed("Hm. So.")) == ("", "Hm. So.")


def test_a_small_models_draft_is_not_shown_where_tools_may_be_called() -> None:
    tried = [AnswerDelta("Sun.", 1, 4), Scored(0, 0.1, 0.8, False, "calls", True)]
    assert shown(AnswerText.MESSAGE, *tried, InsightDelta("Rain.", 1, 5), completed("Rain.")) == ("", "Rain.")
    assert shown(AnswerText.MESSAGE, *tried[:1], completed("Sun.")) == ("", "Sun.")
