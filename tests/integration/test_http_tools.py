"""Tools over HTTP, as OpenAI's client offers them, puts calls together and says their results."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import httpx
import openai
import pytest
import pytest_asyncio

from tests.conftest import Hold
from tests.integration.test_tools import PARIS, ROME

pytestmark = pytest.mark.asyncio(loop_scope="session")
MODEL = "scripted"
PARAMETERS = {
    "type": "object",
    "properties": {"at": {"type": "string"}},
    "required": ["at"],
    "additionalProperties": False,
}
FUNCTION = {"name": "w", "description": "Tells it.", "parameters": PARAMETERS, "strict": True}
TOOLS: list[Any] = [{"type": "function", "function": FUNCTION}]
RESPONSES_TOOLS: list[Any] = [{"type": "function", **FUNCTION}]
ONE = f"[slm={PARIS} slm_eos={len(PARIS) + 1} llm={PARIS} llm_eos={len(PARIS) + 1}]"
BOTH = f"[slm=Hm. slm_eos=4 llm=Hm.{PARIS}{ROME} llm_eos={len(PARIS + ROME) + 4}]"
SUN = "[slm=Sun. slm_eos=5 llm=Sun. llm_eos=5]"


@pytest_asyncio.fixture(loop_scope="session")
async def client(http: httpx.AsyncClient) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{http.base_url}/v1", api_key="none", max_retries=0) as client:
        yield client


async def test_a_conversation_of_three_turns_with_openais_client(client: openai.AsyncOpenAI) -> None:
    said: list[Any] = [{"role": "user", "content": ONE}]
    for content in (BOTH, SUN):
        reply = await client.chat.completions.create(model=MODEL, messages=said, tools=TOOLS)
        [choice] = reply.choices
        assert choice.finish_reason == "tool_calls"
        assert choice.message.tool_calls
        said.append(choice.message.model_dump())
        said += [{"role": "tool", "tool_call_id": call.id, "content": content} for call in choice.message.tool_calls]
    assert [json.loads(call["function"]["arguments"])["at"] for m in said for call in m.get("tool_calls") or ()] == [
        "Paris",
        "Paris",
        "Rome",
    ]
    assert [m["content"] for m in said if m["role"] == "assistant"] == [None, "Hm."]
    last = await client.chat.completions.create(model=MODEL, messages=said, tools=TOOLS, tool_choice="auto")
    assert (last.choices[0].message.content, last.choices[0].finish_reason) == ("Sun.", "stop")


async def test_calls_that_are_streamed_are_put_together_by_openais_client(client: openai.AsyncOpenAI) -> None:
    asked: list[Any] = [{"role": "user", "content": BOTH}]
    async with client.chat.completions.stream(model=MODEL, messages=asked, tools=TOOLS) as events:
        kinds = [event.type async for event in events]
        message = (await events.get_final_completion()).choices[0].message
    assert kinds.count("tool_calls.function.arguments.done") == 2
    assert message.content == "Hm."
    assert message.tool_calls
    assert [call.function.parsed_arguments for call in message.tool_calls] == [{"at": "Paris"}, {"at": "Rome"}]
    whole = await client.chat.completions.create(model=MODEL, messages=asked, tools=TOOLS)
    assert whole.choices[0].message.tool_calls
    assert len({call.id for call in whole.choices[0].message.tool_calls}) == 2


async def test_no_text_of_a_models_own_format_is_streamed(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": BOTH}], tools=TOOLS, stream=True
    )
    chunks = [chunk.model_dump_json() async for chunk in stream]
    assert not any("<call>" in chunk for chunk in chunks)


HELD = f"[llm=Hm.{PARIS} llm_eos={len(PARIS) + 4} llm_hold=12:"
"""The large model waits in the middle of its call."""


async def test_text_before_a_call_comes_while_the_call_is_written(client: openai.AsyncOpenAI, hold: Hold) -> None:
    asked: list[Any] = [{"role": "user", "content": f"{HELD}{hold}]"}]
    async with client.chat.completions.stream(model="scripted", messages=asked, tools=TOOLS) as events:
        async for event in events:
            if event.type == "content.delta" and event.snapshot == "Hm.":
                hold.release()
        [choice] = (await events.get_final_completion()).choices
    assert choice.message.content == "Hm."
    assert choice.message.tool_calls
    assert choice.finish_reason == "tool_calls"


async def test_a_response_has_its_text_while_the_call_is_written(client: openai.AsyncOpenAI, hold: Hold) -> None:
    async with client.responses.stream(model="scripted", input=f"{HELD}{hold}]", tools=RESPONSES_TOOLS) as events:
        async for event in events:
            if event.type == "response.output_text.delta":
                hold.release()
        final = await events.get_final_response()
    assert [item.type for item in final.output] == ["message", "function_call"]
    assert final.output_text == "Hm."


async def test_anthropics_message_has_its_text_while_the_call_is_written(http: httpx.AsyncClient, hold: Hold) -> None:
    asked: list[Any] = [{"role": "user", "content": f"{HELD}{hold}]"}]
    tools: list[Any] = [{"name": "w", "input_schema": PARAMETERS}]
    async with (
        anthropic.AsyncAnthropic(base_url=str(http.base_url), api_key="none", max_retries=0) as client,
        client.messages.stream(model="scripted", max_tokens=99, messages=asked, tools=tools) as events,
    ):
        async for event in events:
            if event.type == "text":
                hold.release()
        message = await events.get_final_message()
    assert [block.type for block in message.content] == ["text", "tool_use"]
    assert message.stop_reason == "tool_use"


async def test_a_call_that_was_cut_is_said_to_be_cut(http: httpx.AsyncClient) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": BOTH}], "tools": TOOLS, "max_tokens": 6}
    reply = (await http.post("/v1/chat/completions", json=body)).json()
    [choice] = reply["choices"]
    assert choice["finish_reason"] == "length"
    assert choice["message"]["content"].startswith("Hm.")
    assert any("the answer was cut" in note for note in reply["tandem"]["notes"])


@pytest.mark.parametrize(("model", "by"), [(MODEL, "llm"), (f"{MODEL}/slm", "slm")])
async def test_a_tool_may_be_required_by_its_name_and_calls_be_serial(
    client: openai.AsyncOpenAI, model: str, by: str
) -> None:
    named: Any = {"type": "function", "function": {"name": "w"}}
    allowed: Any = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [named]}}
    for choice in (named, allowed, "required"):
        reply = await client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": ONE}],
            tools=TOOLS,
            tool_choice=choice,
            parallel_tool_calls=False,
        )
        assert reply.choices[0].message.tool_calls
        assert reply.tandem["answered_by"] == by  # type: ignore[attr-defined]


async def test_responses_of_three_turns_with_openais_client(client: openai.AsyncOpenAI) -> None:
    said: list[Any] = [{"role": "user", "content": ONE}]
    for output in (BOTH, SUN):
        reply = await client.responses.create(model=MODEL, input=said, tools=RESPONSES_TOOLS)
        calls = [item for item in reply.output if item.type == "function_call"]
        said += [item.model_dump() for item in reply.output]
        said += [{"type": "function_call_output", "call_id": call.call_id, "output": output} for call in calls]
    assert [item["type"] for item in said if "type" in item] == [
        "function_call", "function_call_output", "message", *["function_call"] * 2, *["function_call_output"] * 2
    ]  # fmt: skip
    last = await client.responses.create(model=MODEL, input=said, tools=RESPONSES_TOOLS)
    assert last.output_text == "Sun."


async def test_a_response_streams_its_calls_as_items(client: openai.AsyncOpenAI) -> None:
    async with client.responses.stream(model=MODEL, input=BOTH, tools=RESPONSES_TOOLS) as events:
        seen = [event async for event in events]
        final = await events.get_final_response()
    assert [item.type for item in final.output] == ["message", "function_call", "function_call"]
    done = [event for event in seen if event.type == "response.function_call_arguments.done"]
    assert [json.loads(event.arguments)["at"] for event in done] == ["Paris", "Rome"]
    assert [event.output_index for event in done] == [1, 2]
