"""Tools and their calls: what a request may offer, and which conversations have them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.gateway.admission import Admission, check_request, request_fingerprint
from tandem.client.request import solve_request
from tandem.client.tools import calls_as_data
from tandem.convert.requests import solve_request_from_pb
from tandem.method.conversation import Message, kind_of, split_conversation
from tandem.method.errors import InvalidArgument
from tandem.method.profile.profile import load_profile
from tandem.method.request.request import Budget, SolveRequest
from tandem.method.tools import Tool, ToolCall, ToolUse, call_id, check_tools
from tests.unit.test_conversation import PROFILES

SCHEMA = '{"type": "object", "properties": {"city": {"type": "string"}}}'
WEATHER = Tool("weather", "Tells the weather.", SCHEMA)
CALL, OTHER = ToolCall("call_1", "weather", '{"city": "Paris"}'), ToolCall("call_2", "weather", '{"city": "Rome"}')
ASKED = Message("user", "Weather in Paris and Rome?")
CALLED = Message("assistant", "", (CALL, OTHER))
THIRD = ToolCall("call_3", "weather", '{"city": "Oslo"}')
SUN, RAIN, SNOW = (
    Message("tool", text, (), id) for text, id in (("sun", "call_1"), ("rain", "call_2"), ("snow", "call_3"))
)


def admission() -> Admission:
    profile = load_profile("scripted", (PROFILES,))
    return Admission({"scripted": profile}, "scripted", {"scripted": len})


def asked(**more: object) -> SolveRequest:
    return replace(SolveRequest("r", "Weather?", task="chat", tools=ToolUse((WEATHER,))), **more)  # type: ignore[arg-type]


def test_results_of_all_calls_are_answered_as_the_user_is() -> None:
    said = [ASKED, CALLED, SUN, RAIN]
    assert split_conversation(said) == (said, "")
    assert split_conversation([*said, Message("assistant", "Sun."), ASKED]) == (
        [*said, Message("assistant", "Sun.")],
        ASKED.text,
    )


def test_a_request_knows_the_calls_whose_results_it_answers() -> None:
    def request(*said: Message) -> SolveRequest:
        history, question = split_conversation(said)
        return SolveRequest("r", question, history=history)

    assert request(ASKED, CALLED, RAIN, SUN).answered_calls == [OTHER, CALL]
    assert request(ASKED, CALLED, RAIN, SUN, replace(CALLED, calls=(THIRD,)), SNOW).answered_calls == [THIRD]
    assert request(ASKED, CALLED, RAIN, SUN, ASKED).answered_calls == []


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ([ASKED, CALLED, SUN], "'call_2' has no result"),
        ([ASKED, CALLED, SUN, SUN], "nobody called"),
        ([ASKED, SUN], "nobody called"),
        ([ASKED, CALLED, SUN, ASKED], "before the result of the call 'call_2'"),
        ([ASKED, replace(CALLED, calls=(CALL, CALL)), SUN], "same id"),
        ([replace(ASKED, calls=(CALL,)), SUN], "calls no tools"),
        ([ASKED, replace(CALLED, calls=(replace(CALL, arguments="[1]"),)), SUN], "no JSON object"),
        ([ASKED, replace(CALLED, calls=(replace(CALL, arguments="{"),)), SUN], "no JSON object"),
    ],
)  # fmt: skip
def test_calls_and_results_must_match(messages: list[Message], why: str) -> None:
    with pytest.raises(InvalidArgument, match=why) as caught:
        split_conversation(messages)
    assert caught.value.field == "messages"


@pytest.mark.parametrize(
    ("use", "field"),
    [
        (ToolUse((Tool(""),)), "tools"),
        (ToolUse((Tool("a b"),)), "tools"),
        (ToolUse((Tool("f<|im_end|>"),)), "tools"),
        (ToolUse((WEATHER, WEATHER)), "tools"),
        (ToolUse((Tool("f", "", "[]"),)), "tools"),
        (ToolUse((Tool("f", "", "{"),)), "tools"),
        (ToolUse((Tool("f", "", '{"maximum": 1' + "0" * 309 + "}"),)), "tools"),
        (ToolUse((WEATHER,), "auto", ("other",)), "tool_choice"),
        (ToolUse((), "required"), "tool_choice"),
    ],
)
def test_a_tool_that_cannot_be_called_is_refused(use: ToolUse, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_tools(use)
    assert caught.value.field == field


def test_a_tool_without_a_schema_takes_no_arguments() -> None:
    parameters = Tool("now").as_data()["function"]["parameters"]
    assert parameters == {"type": "object", "properties": {}, "additionalProperties": False}


def test_only_allowed_tools_are_called_and_none_where_none_may() -> None:
    other = Tool("other")
    assert ToolUse((WEATHER, other), "required", ("other",)).callable == [other]
    assert ToolUse((WEATHER, other)).callable == [WEATHER, other]
    assert [use.may_call for use in (ToolUse(), ToolUse((WEATHER,), "none"), ToolUse((WEATHER,)))] == [
        False,
        False,
        True,
    ]
    assert kind_of("chat", "", may_call=True) == "tools"


def test_ids_of_calls_are_unique_and_the_same_whenever_they_are_asked() -> None:
    ids = [call_id(request, number) for request in ("a", "b") for number in (0, 1)]
    assert len(set(ids)) == 4
    assert ids[0] == call_id("a", 0)


def test_a_client_says_tools_as_it_does_to_openai() -> None:
    function = {"name": "weather", "description": "Tells.", "parameters": {"type": "object"}, "strict": True}
    said = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": calls_as_data(solve_request([
            {"role": "assistant", "tool_calls": [{"id": "call_1", "function": {"name": "weather", "arguments": "{}"}}]},
        ]).messages[0].tool_calls)},
        {"role": "tool", "tool_call_id": "call_1", "content": "sun"},
    ]  # fmt: skip
    message = solve_request(
        said, tools=[{"type": "function", "function": function}], tool_choice="weather", parallel_tool_calls=False
    )
    request = solve_request_from_pb(message)
    tool = Tool("weather", "Tells.", '{"type": "object"}', True)
    assert request.tools == ToolUse((tool,), "required", ("weather",), False)
    assert (request.task, request.question, request.last_said, request.answers_tool) == ("chat", "", "sun", True)
    assert request.history[1].calls == (ToolCall("call_1", "weather", "{}"),)
    assert solve_request_from_pb(solve_request(said, tools=[function], allowed_tools=["weather"])).tools.tools == (
        tool,
    )


def admit(request: SolveRequest) -> None:
    check_request(request)
    admission().admit(request, "")


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (asked(task="answer"), "task"),
        (asked(tools=ToolUse((WEATHER, WEATHER))), "tools"),
        (asked(tools=ToolUse((replace(WEATHER, description="x" * 100_000),))), "question"),
        (asked(history=[Message("assistant", "y" * 100_000)]), "messages"),
    ],
)
def test_a_request_whose_tools_cannot_be_used_is_refused_by_its_fields_name(request_: SolveRequest, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        admit(request_)
    assert caught.value.field == field


def test_other_tools_make_another_request() -> None:
    plain = admission().admit(replace(asked(), tools=ToolUse()), "")
    others = [
        ToolUse(), ToolUse((WEATHER,)), ToolUse((replace(WEATHER, strict=True),)), ToolUse((WEATHER,), "required"),
        ToolUse((WEATHER,), parallel=False),
    ]  # fmt: skip
    prints = [request_fingerprint(asked(tools=use), plain.plan.profile, Budget()) for use in others]
    assert len(set(prints)) == len(others)
    histories: list[list[Message]] = [
        [],
        [ASKED, CALLED, SUN, RAIN],
        [ASKED, replace(CALLED, calls=(OTHER, CALL)), SUN, RAIN],
    ]
    prints = [request_fingerprint(asked(history=said), plain.plan.profile, Budget()) for said in histories]
    assert len(set(prints)) == len(histories)
