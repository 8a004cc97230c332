"""What a vendor says of its reply reaches a caller of the same protocol, streamed and whole, for each protocol."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.http_gateway.exchange import Dropped
from services.http_gateway.headers import dropped_header
from services.models.engine.batch import whole
from services.models.engine.remote.anthropic_writer import AnthropicWriter
from services.models.engine.remote.api_writer import ApiSettings, ApiWriter
from services.models.engine.remote.openai_writer import OpenAIWriter
from services.models.engine.remote.responses_writer import ResponsesWriter
from services.models.engine.writer import Writing
from tandem.client.live_text import Piece
from tandem.method.profile.endpoint import Capabilities
from tandem.method.tools import Tool, ToolUse
from tandem.openai.chat_reply import ChatReply
from tandem.openai.messages_reply import MessagesReply
from tandem.openai.reply import Reply
from tandem.openai.responses_reply import ResponsesReply
from tandem.openai.responses_request import ResponsesRequest
from tandem.v1 import tandem_pb2
from tests.conversations import conversation
from tests.recorded_api import Answer, recorded_api
from tests.vendor_replies import MESSAGES, VENDOR, missing

Data = dict[str, Any]


def reply(protocol: str) -> Reply:
    match protocol:
        case "chat":
            return ChatReply("r", "pair", include_usage=True, is_passed=True)
        case "messages":
            return MessagesReply("r", "pair", is_passed=True)
    asked = ResponsesRequest.model_validate({"model": "pair", "input": "hi"}).repeated
    return ResponsesReply("r", "pair", asked, is_passed=True)


def result(**small: Any) -> tandem_pb2.SolveResult:
    """The large model has read 20 tokens, 12 of them cached and 3 newly so, and written 9. `small`: what another one
    used.
    """
    llm = tandem_pb2.TokenUsage(
        input_tokens=8, cached_input_tokens=12, output_tokens=9, cache_write_tokens=2, cache_write_hour_tokens=1
    )
    usage = tandem_pb2.UsageByRole(llm=llm, slm=tandem_pb2.TokenUsage(**small))
    calls = [tandem_pb2.ToolCall(id="call_r", name="f", arguments='{"a": 1}')]
    by_llm: Any = {"usage": usage, "answered_by": tandem_pb2.ROLE_LLM, "tool_calls": calls}
    return tandem_pb2.SolveResult(request_id="r", profile="pair", answer="I write.", complete=True, **by_llm)


def said(events: list[Data]) -> list[str]:
    return [json.dumps(event) for event in events]


@pytest.mark.parametrize("protocol", VENDOR)
def test_a_whole_reply_has_every_field_that_the_vendors_own_has(protocol: str) -> None:
    events, whole = VENDOR[protocol]
    assert not list(missing(whole, reply(protocol).whole(result(), "", said(events))))


@pytest.mark.parametrize("protocol", VENDOR)
def test_a_stream_has_every_event_of_the_vendors_with_every_field(protocol: str) -> None:
    events, _ = VENDOR[protocol]
    made = reply(protocol)
    got = made.first() + made.piece(Piece(content="I write.", native=tuple(said(events)))) + made.last(result())
    assert len(got) == len(events)
    assert not [lost for event, shown in zip(events, got, strict=True) for lost in missing(event, shown)]


@pytest.mark.parametrize("protocol", VENDOR)
def test_the_first_event_waits_for_the_vendors_and_says_what_that_has_read(protocol: str) -> None:
    events, made = VENDOR[protocol][0], reply(protocol)
    assert made.first() == []
    begun = made.piece(Piece(native=tuple(said(events[:1]))))
    assert begun
    assert made.piece(Piece(native=tuple(said(events[1:2]))))[:1] != begun[:1]
    if protocol == "messages":
        assert begun[0]["message"]["usage"] == MESSAGES[0]["message"]["usage"]


FIRST = {"chat": "choices", "messages": "message", "responses": "response"}


@pytest.mark.parametrize("protocol", VENDOR)
@pytest.mark.parametrize("shown", [Piece(), Piece(content="I write.")])
def test_a_reply_that_the_vendor_never_began_is_begun_here_once(protocol: str, shown: Piece) -> None:
    made = reply(protocol)
    got = made.first() + made.piece(shown) + made.last(result())
    assert FIRST[protocol] in got[0]
    kinds = [event.get("type", str(event.get("choices", [{}])[0].get("delta", {}).get("role"))) for event in got[:-1]]
    assert sum(kind in ("message_start", "response.created", "assistant") for kind in kinds) == 1


@pytest.mark.parametrize(
    ("protocol", "read", "written"),
    [
        ("chat", "prompt_tokens", "completion_tokens"),
        ("messages", "input_tokens", "output_tokens"),
        ("responses", "input_tokens", "output_tokens"),
    ],
)
def test_the_usage_of_a_reply_counts_every_model_that_was_paid(protocol: str, read: str, written: str) -> None:
    events, vendors = VENDOR[protocol]
    paid = result(input_tokens=100, output_tokens=50)
    usage = reply(protocol).whole(paid, "", said(events))["usage"]
    assert usage[read] == vendors["usage"][read] + 100
    assert usage[written] == 9 + 50


def test_a_ping_of_messages_is_an_event_of_the_protocol_once_the_message_has_begun() -> None:
    made = reply("messages")
    assert made.ping is None
    made.piece(Piece(native=tuple(said(MESSAGES[:1]))))
    assert made.ping == {"type": "ping"}
    assert reply("chat").ping is reply("responses").ping is None


WRITERS: dict[str, type[ApiWriter]] = {"chat": OpenAIWriter, "messages": AnthropicWriter, "responses": ResponsesWriter}
BODIES: dict[str, Data] = {
    "chat": {"messages": [{"role": "user", "content": "Go"}]},
    "messages": {"messages": [{"role": "user", "content": "Go"}]},
    "responses": {"input": "Go"},
}


async def sent_on(protocol: str, events: list[Data]) -> tuple[str, ...]:
    """What the writer gives on of a stream that a vendor sends over HTTP."""

    def answer(path: str, body: Data) -> Answer:
        if "/models" in path:
            return Answer({"object": "list", "data": [{"id": "m", "object": "model"}]})
        return Answer(events=[(event.get("type", ""), event) for event in events])

    native: list[str] = []
    with recorded_api(answer) as api:
        url = api.url if protocol == "messages" else f"{api.url}/v1"
        engine = WRITERS[protocol](ApiSettings("m", url, "k", can=Capabilities(tools=True)))
        engine.start()
        tools = ToolUse((Tool("f"),))
        said = conversation(("user", "Go"))
        work = Writing("r", said, 60, tools=tools, may_call=True, native=BODIES[protocol], on_event=native.append)
        await whole(engine.write(work))
        engine.stop()
    return tuple(native)


@pytest.mark.parametrize("protocol", VENDOR)
async def test_a_vendors_stream_over_http_comes_through_writer_and_reply_with_every_field(protocol: str) -> None:
    events, whole = VENDOR[protocol]
    native = await sent_on(protocol, events)
    assert not list(missing(whole, reply(protocol).whole(result(), "", native)))
    made = reply(protocol)
    got = made.first() + made.piece(Piece(native=native)) + made.last(result())
    assert len(got) == len(events)
    assert not [lost for event, shown in zip(events, got, strict=True) for lost in missing(event, shown)]


async def test_a_response_does_not_repeat_instructions_tools_and_items_in_the_log() -> None:
    events = [{**event} for event in VENDOR["responses"][0]]
    events[-1]["response"] = {**events[-1]["response"], "instructions": "Be.", "tools": [{}], "output": [{}]}
    last = json.loads((await sent_on("responses", events))[-1])
    assert last["type"] == "response.completed"
    assert not {"instructions", "tools", "output"} & last["response"].keys()


def test_what_is_not_followed_depends_on_who_answers() -> None:
    dropped = Dropped(by_large=("store",), by_small=("store", "thinking"))
    assert dropped.of(result()) == ("store",)
    small = tandem_pb2.SolveResult(answered_by=tandem_pb2.ROLE_SECOND_SLM)
    assert dropped.of(small) == ("store", "thinking")
    assert dropped_header(dropped.of(small)) == {"x-tandem-dropped": "store, thinking"}
    assert dropped_header(()) == {}
