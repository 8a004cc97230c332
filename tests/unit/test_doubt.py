"""What a conversation holds against a call, however many models make it."""

from __future__ import annotations

import json

import pytest

from tandem.method.conversation import Message
from tandem.method.evidence.doubt import doubt
from tandem.method.tools import Tool, ToolCall

ARGUMENTS = '{"city": "Paris", "days": 3, "unit": "celsius"}'


@pytest.mark.parametrize(
    ("result", "why"),
    [
        ("Traceback (most recent call last): ...", "the last result is an error"),
        ("Error: no such city", "the last result is an error"),
        ('{"error": "no such city"}', "the last result is an error"),
        ('{"error": null, "rain": true}', ""),
        ("rain, without terror", ""),
    ],
)
def test_a_result_that_is_an_error_raises_a_doubt(result: str, why: str) -> None:
    call = ToolCall("call_1", "weather", ARGUMENTS)
    history = [Message("user", "?"), Message("assistant", "", (call,)), Message("tool", result, call_id="call_1")]
    assert doubt([("weather", '{"city": "Rome"}')], history) == why


def test_the_same_call_again_raises_a_doubt_however_it_is_written() -> None:
    call = ToolCall("call_1", "weather", ARGUMENTS)
    history = [Message("user", "?"), Message("assistant", "", (call,)), Message("tool", "rain", call_id="call_1")]
    again = json.dumps(dict(reversed(json.loads(ARGUMENTS).items())))
    assert doubt([("weather", again)], history) == "it makes the same call again"
    assert doubt([("other", again)], history) == ""


def test_a_call_that_stands_in_a_text_is_not_taken_for_none() -> None:
    tools = [Tool("weather")]
    assert doubt([], [], 'I call {"name": "weather"}', tools) == "a call stands in the text, so that none is read"
    assert doubt([], [], "The weather is fine.", tools) == ""
    assert doubt([("weather", "{}")], [], 'I call {"name": "weather"}', tools) == ""
