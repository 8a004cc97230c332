"""Marks of what Anthropic's API is to cache: where a caller sets them, and where it does not."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.models.engine.remote.cache_marks import with_marks
from tests.caching_api import CachingApi, prompt_of

MARK = {"cache_control": {"type": "ephemeral"}}
TOOLS = [{"name": "read", "input_schema": {"type": "object"}}, {"name": "write", "input_schema": {"type": "object"}}]


def turn(number: int) -> list[dict[str, Any]]:
    """A call and its result."""
    call = {"type": "tool_use", "id": f"t{number}", "name": "read", "input": {"n": number}}
    result = {"type": "tool_result", "tool_use_id": f"t{number}", "content": "line " * 200}
    return [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]


def body(turns: int) -> dict[str, Any]:
    said: list[dict[str, Any]] = [{"role": "user", "content": "Do it."}]
    for number in range(turns):
        said += turn(number)
    return {"system": "You are an agent. " * 100, "tools": TOOLS, "messages": said}


def marked(sent: dict[str, Any]) -> list[int]:
    return [index for index, part in enumerate(prompt_of(sent)) if "cache_control" in part]


@given(st.integers(0, 12))
def test_four_marks_at_most_and_the_rest_stays_as_it_was(turns: int) -> None:
    sent, asked = with_marks(body(turns)), prompt_of(body(turns))
    assert len(marked(sent)) == min(4, 3 + turns)
    assert [
        {name: value for name, value in part.items() if name != "cache_control"} for part in prompt_of(sent)
    ] == asked
    assert marked(sent)[:2] == [1, 2]  # the last tool, and the system prompt
    assert marked(sent)[-1] == len(asked) - 1


def test_each_turn_reads_what_the_one_before_it_wrote() -> None:
    api = CachingApi()
    for turns in range(20):
        api.answer("/v1/messages", with_marks(body(turns)))
    for before, after in zip(api.usage, api.usage[1:], strict=False):
        assert after["cached"] >= before["cached"] + before["written"] - 1
    assert api.share() > 0.8


def test_what_the_caller_has_marked_is_left_alone() -> None:
    own = body(3)
    own["messages"][0]["content"] = [{"type": "text", "text": "Do it.", **MARK}]
    assert with_marks(own) == own
    inner = body(3)
    inner["messages"][2]["content"][0]["content"] = [{"type": "text", "text": "x", **MARK}]
    assert with_marks(inner) == inner
    whole = body(3) | MARK
    assert with_marks(whole) == whole


def test_one_question_without_tools_is_not_written_to_the_cache() -> None:
    asked = {"system": "Be brief.", "messages": [{"role": "user", "content": "Why?"}]}
    assert with_marks(asked) == asked


def test_what_can_have_no_mark_gets_none() -> None:
    deferred = body(1) | {"tools": [*TOOLS, {"name": "late", "input_schema": {}, "defer_loading": True}]}
    deferred["messages"][-1]["content"].append({"type": "text", "text": " "})
    assert marked(with_marks(deferred)) == [3, 4]
