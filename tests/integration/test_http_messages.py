"""POST /v1/messages: the same request in Anthropic's dialect, read and written as its clients do."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Any

import httpx
import pytest

from tandem.client.contract import MAX_REQUEST_BYTES
from tests.integration.test_http_tools import BOTH, MODEL, ONE, PARAMETERS, SUN

pytestmark = pytest.mark.asyncio(loop_scope="session")
TOOLS = [{"name": "w", "description": "Tells it.", "input_schema": PARAMETERS, "cache_control": {"type": "ephemeral"}}]
HEADERS = {"x-api-key": "none", "anthropic-version": "2023-06-01"}


async def ask(http: httpx.AsyncClient, messages: Any, **more: Any) -> httpx.Response:
    body = {"model": MODEL, "max_tokens": 64, "messages": messages, **more}
    return await http.post("/v1/messages", json=body, headers=HEADERS)


async def events(http: httpx.AsyncClient, messages: Any, **more: Any) -> list[dict[str, Any]]:
    reply = await ask(http, messages, stream=True, **more)
    return [json.loads(line.removeprefix("data: ")) for line in reply.text.splitlines() if line.startswith("data: ")]


def user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


async def test_a_conversation_of_three_turns(http: httpx.AsyncClient) -> None:
    said = user(ONE)
    for content in (BOTH, SUN):
        reply = (await ask(http, said, tools=TOOLS, system=[{"type": "text", "text": "Be brief."}])).json()
        assert (reply["type"], reply["role"], reply["stop_reason"]) == ("message", "assistant", "tool_use")
        said.append({"role": "assistant", "content": reply["content"]})
        results = [
            {"type": "tool_result", "tool_use_id": block["id"], "content": [{"type": "text", "text": content}]}
            for block in reply["content"]
            if block["type"] == "tool_use"
        ]
        said.append({"role": "user", "content": results})
    blocks = [
        (block["type"], block.get("input"))
        for message in said
        for block in message["content"]
        if message["role"] == "assistant"
    ]
    assert blocks == [
        ("tool_use", {"at": "Paris"}),
        ("text", None),
        ("tool_use", {"at": "Paris"}),
        ("tool_use", {"at": "Rome"}),
    ]
    last = (await ask(http, said, tools=TOOLS)).json()
    assert (last["content"], last["stop_reason"]) == ([{"type": "text", "text": "Sun."}], "end_turn")
    assert last["usage"]["input_tokens"] > 0
    assert last["usage"]["output_tokens"] > 0


async def test_text_and_calls_are_streamed_as_blocks(http: httpx.AsyncClient) -> None:
    seen = await events(http, user(BOTH), tools=TOOLS)
    assert [kind for kind, _ in groupby(event["type"] for event in seen)] == [
        "message_start",
        *["content_block_start", "content_block_delta", "content_block_stop"] * 3,
        "message_delta",
        "message_stop",
    ]
    started = [event["content_block"] for event in seen if event["type"] == "content_block_start"]
    assert [block["type"] for block in started] == ["text", "tool_use", "tool_use"]
    deltas = [event["delta"] for event in seen if event["type"] == "content_block_delta"]
    assert "".join(delta.get("text", "") for delta in deltas) == "Hm."
    assert [json.loads(each["partial_json"])["at"] for each in deltas if "partial_json" in each] == ["Paris", "Rome"]
    assert seen[-2]["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}
    assert [index for index, _ in groupby(event["index"] for event in seen if "index" in event)] == [0, 1, 2]


async def test_a_tool_may_be_required_and_a_failed_one_says_so(http: httpx.AsyncClient) -> None:
    for choice in ({"type": "any", "disable_parallel_tool_use": True}, {"type": "tool", "name": "w"}):
        reply = (await ask(http, user(ONE), tools=TOOLS, tool_choice=choice)).json()
        assert reply["stop_reason"] == "tool_use"
    [call] = [block for block in reply["content"] if block["type"] == "tool_use"]
    failed = {"type": "tool_result", "tool_use_id": call["id"], "content": SUN, "is_error": True}
    said = [
        *user(ONE),
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [failed, {"type": "text", "text": SUN}]},
    ]
    assert (await ask(http, said, tools=TOOLS)).status_code == 200


async def test_stop_sequences_and_max_tokens_end_the_text(http: httpx.AsyncClient) -> None:
    script = "[scores=0:0.9 slm=one_two_ slm_eos=9]"
    assert (await ask(http, user(script), stop_sequences=["two"])).json()["content"][0]["text"] == "one"
    cut = (await ask(http, user(script), max_tokens=3)).json()
    assert (cut["content"][0]["text"], cut["stop_reason"]) == ("one", "max_tokens")


@pytest.mark.parametrize(
    ("more", "status", "kind", "named"),
    [
        ({"max_tokens": None}, 400, "invalid_request_error", "max_tokens"),
        ({"model": "nobody"}, 404, "not_found_error", "nobody"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]},
            400,
            "invalid_request_error",
            "messages[].content[type=image]",
        ),
        (
            {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]},
            400,
            "invalid_request_error",
            "assistant",
        ),
    ],
)
async def test_what_cannot_be_honoured_is_refused_in_its_shape(
    http: httpx.AsyncClient, more: dict[str, Any], status: int, kind: str, named: str
) -> None:
    reply = await ask(http, **{"messages": user(ONE), **more})
    error = reply.json()
    assert (reply.status_code, error["type"], error["error"]["type"]) == (status, "error", kind)
    assert named in error["error"]["message"]


async def test_a_schema_holds_the_answer_as_in_chat_completions(http: httpx.AsyncClient) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    script = user('[slm={"a":_1} slm_eos=9 scores=0:0.9]')
    reply = await ask(http, script, output_config={"format": {"type": "json_schema", "schema": schema}})
    assert json.loads(reply.json()["content"][0]["text"]) == {"a": 1}
    not_held = await ask(http, script, output_format={"type": "json_schema", "schema": {"not": {}}})
    assert not_held.status_code == 400


async def test_tokens_are_counted_as_the_limit_counts_them(http: httpx.AsyncClient) -> None:
    asked = {
        "model": MODEL,
        "messages": user("x" * 50),
        "system": "Be brief.",
        "tools": TOOLS,
        "tool_choice": {"type": "any"},
    }
    reply = await http.post("/v1/messages/count_tokens", json=asked, headers=HEADERS)
    assert reply.status_code == 200
    counted = reply.json()["input_tokens"]
    longer = await http.post("/v1/messages/count_tokens", json=asked | {"messages": user("x" * 5000)}, headers=HEADERS)
    assert longer.json() == {"input_tokens": counted + 4950}  # more than the profile takes, which asking would refuse
    refused = await ask(http, user("x" * 5000), system="Be brief.", tools=TOOLS)
    assert f"{counted + 4950} tokens" in refused.json()["error"]["message"]
    more = await http.post(
        "/v1/messages/count_tokens", json=asked | {"thinking": {"type": "adaptive"}}, headers=HEADERS
    )
    assert more.json() == {"input_tokens": counted}


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
async def test_what_is_refused_before_it_is_read_has_its_shape_too(http: httpx.AsyncClient, path: str) -> None:
    large = await http.post(path, content=b" " * (MAX_REQUEST_BYTES + 1), headers={"content-type": "application/json"})
    page = await http.post(path, json={}, headers={"origin": "http://evil.example"})
    method, url = await http.get(path), await http.post(f"{path}/batches", json={})
    for reply, status, kind in (
        (large, 413, "request_too_large"),
        (page, 403, "permission_error"),
        (method, 405, "invalid_request_error"),
        (url, 404, "not_found_error"),
    ):
        error = reply.json()
        assert (reply.status_code, error["type"], error["error"]["type"]) == (status, "error", kind)


async def test_what_fails_before_its_first_text_has_a_status_in_a_stream_too(http: httpx.AsyncClient) -> None:
    reply = await ask(http, user("[fail=slm scores=0:0.9]"), stream=True)
    assert (reply.status_code, reply.json()["type"], reply.json()["error"]["type"]) == (
        503,
        "error",
        "overloaded_error",
    )
