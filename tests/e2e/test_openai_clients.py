"""Clients that others wrote, against the local stack: OpenAI's SDK, LangChain, LiteLLM and curl."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

from tandem.client.clients import Client
from tandem.local.supervisor import Stack
from tests.conftest import wait_until
from tests.stacks import heal, kill, pid_of, start

MODEL = "scripted@0.8"
SCRIPT = "[scores=16:0.9 llm=word_ slm=more_ slm_eos=9]"
ANSWER = "word word word wmore mor"
MESSAGES: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": SCRIPT}]


@pytest.fixture(scope="module")
def client(stack: Stack) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{stack.http}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_openais_sdk(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["scripted", "scripted/large", "scripted/slm"]
    reply = client.chat.completions.create(model=MODEL, messages=MESSAGES, temperature=0, seed=1, user="lab")
    assert reply.choices[0].message.content == ANSWER
    assert reply.choices[0].message.reasoning_content.startswith("word")  # type: ignore[attr-defined]
    assert reply.usage
    assert reply.usage.completion_tokens_details
    assert reply.usage.completion_tokens_details.reasoning_tokens
    assert reply.tandem["stop"]["reason"] == "sufficient"  # type: ignore[attr-defined]


def test_openais_sdk_streamed(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model=MODEL, messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices) == ANSWER
    assert chunks[-1].usage
    assert chunks[-1].usage.total_tokens > 0
    with client.chat.completions.stream(model=MODEL, messages=MESSAGES) as events:
        assert events.get_final_completion().choices[0].message.content == ANSWER


async def test_openais_asynchronous_sdk(stack: Stack) -> None:
    async with openai.AsyncOpenAI(base_url=f"{stack.http}/v1", api_key="none", max_retries=0) as client:
        reply = await client.chat.completions.create(model=MODEL, messages=MESSAGES)
        assert reply.choices[0].message.content == ANSWER
        stream = await client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
        texts = [choice.delta.content or "" async for chunk in stream for choice in chunk.choices]
        assert "".join(texts) == ANSWER


class Person(BaseModel):
    name: str
    age: int


PERSON = '[slm={"name":"Ada","age":36} slm_eos=24 scores=0:0.9]'
WRITTEN = '<call>Person_{"name":"Ada","age":36}</call>'
CALL = f"[slm={WRITTEN} llm={WRITTEN} slm_eos={len(WRITTEN) + 1} llm_eos={len(WRITTEN) + 1}]"
ANSWERED = "Done."


def test_openais_structured_output(client: openai.OpenAI) -> None:
    asked: list[Any] = [{"role": "user", "content": PERSON}]
    reply = client.chat.completions.parse(model=MODEL, messages=asked, response_format=Person)
    assert reply.choices[0].message.parsed == Person(name="Ada", age=36)


def test_openais_responses(client: openai.OpenAI) -> None:
    reply = client.responses.create(model=MODEL, input=SCRIPT, instructions="Be brief.", store=False)
    assert (reply.output_text, reply.status) == (ANSWER, "completed")
    assert [item.type for item in reply.output] == ["reasoning", "message"]
    assert reply.usage
    assert reply.usage.output_tokens_details.reasoning_tokens
    said: list[Any] = [{"role": "user", "content": SCRIPT}, *reply.output[1:], {"role": "user", "content": "And?"}]
    again: list[Any] = [item if isinstance(item, dict) else item.model_dump() for item in said]
    assert client.responses.create(model=MODEL, input=again).output_text == ANSWER
    with client.responses.stream(model=MODEL, input=SCRIPT) as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        assert stream.get_final_response().output_text == "".join(deltas) == ANSWER
    parsed = client.responses.parse(model=MODEL, input=PERSON, text_format=Person)
    assert parsed.output_parsed == Person(name="Ada", age=36)
    cut = client.responses.create(model=MODEL, input=SCRIPT, max_output_tokens=20)
    assert (cut.status, cut.incomplete_details and cut.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model=MODEL, input=SCRIPT, previous_response_id="resp_1")
    assert refused.value.param == "previous_response_id"


def test_openais_sdk_raises_its_own_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=MODEL, messages=MESSAGES, n=2)
    assert (refused.value.param, refused.value.code) == ("n", "unsupported_parameter")
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="nobody", messages=MESSAGES)
    assert unknown.value.code == "model_not_found"
    failing: list[Any] = [{"role": "user", "content": "[fail=slm scores=16:0.9 ms=20]"}]
    once = client.with_options(max_retries=0)
    with pytest.raises(openai.APIError, match="no answer"):
        list(once.chat.completions.create(model=MODEL, messages=failing, stream=True))


def test_openais_sdk_that_stops_reading_stops_the_models(client: openai.OpenAI, stack: Stack) -> None:
    asked: list[Any] = [{"role": "user", "content": "[llm_hold=5]"}]
    stream = client.chat.completions.create(model=MODEL, messages=asked, stream=True)
    request_id = next(iter(stream)).id.removeprefix("chatcmpl-")
    stream.close()
    with Client(stack.gateway) as direct:
        wait_until(lambda: direct.get(request_id).HasField("result"))
        assert direct.get(request_id).state == 4  # cancelled


def test_langchain(stack: Stack) -> None:
    model = ChatOpenAI(model=MODEL, base_url=f"{stack.http}/v1", api_key="none", max_retries=0, temperature=0)  # type: ignore[arg-type]
    said = [SystemMessage("Be brief."), HumanMessage(SCRIPT)]
    reply = model.invoke(said)
    assert reply.content == ANSWER
    assert reply.usage_metadata
    assert "".join(str(chunk.content) for chunk in model.stream(said)) == ANSWER
    assert model.invoke([*said, AIMessage(ANSWER), HumanMessage("And?")]).content == ANSWER
    structured = model.with_structured_output(Person, method="json_schema")
    assert structured.invoke(PERSON) == Person(name="Ada", age=36)
    caller = model.model_copy(update={"model_name": "scripted"})  # calls are not scored: no threshold
    called = caller.bind_tools([Person]).invoke(CALL)
    assert isinstance(called, AIMessage)
    assert [(call["name"], call["args"]) for call in called.tool_calls] == [("Person", {"name": "Ada", "age": 36})]
    told = ToolMessage(f"[slm={ANSWERED} llm={ANSWERED} slm_eos=6 llm_eos=6]", tool_call_id=called.tool_calls[0]["id"])
    assert caller.bind_tools([Person]).invoke([HumanMessage(CALL), called, told]).content == ANSWERED
    by_tool = caller.with_structured_output(Person, method="function_calling")
    assert by_tool.invoke(CALL) == Person(name="Ada", age=36)


def test_litellm(stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it asks the internet at its import
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))  # which it sets, and leaves
    import litellm

    options: dict[str, Any] = {
        "model": f"openai/{MODEL}",
        "messages": MESSAGES,
        "api_base": f"{stack.http}/v1",
        "api_key": "none",
        "max_retries": 0,
    }
    reply = litellm.completion(**options)
    assert reply.choices[0].message.content == ANSWER
    assert reply.choices[0].message.reasoning_content.startswith("word")
    assert reply.usage.total_tokens > 0
    chunks = list(litellm.completion(**options, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == ANSWER


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl(stack: Stack) -> None:
    body = json.dumps({"model": MODEL, "messages": MESSAGES, "stream": True})
    words = ["curl", "-sN", f"{stack.http}/v1/chat/completions", "-H", "content-type: application/json", "-d", body]
    lines = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()
    assert lines[-2] == "data: [DONE]"
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-2] if line]
    assert "".join(c["delta"].get("content", "") for chunk in chunks for c in chunk["choices"]) == ANSWER


def test_a_stream_outlives_a_gateway_that_is_killed(client: openai.OpenAI, stack: Stack) -> None:
    """The edge resumes as every client of the gateway does, and its own reader notices nothing."""
    asked: list[Any] = [{"role": "user", "content": "[scores=16:0.9 slm=more_ slm_eos=60 llm=word_ ms=40]"}]
    texts = []
    for chunk in client.chat.completions.create(model=MODEL, messages=asked, stream=True):
        texts += [choice.delta.content or "" for choice in chunk.choices]
        if len(texts) == 3:
            kill(stack, "gateway")
            start(stack, "gateway")
    assert pid_of(stack, "gateway")
    heal(stack)
    assert "".join(texts).startswith("word word word wmore more")
