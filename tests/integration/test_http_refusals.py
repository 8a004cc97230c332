"""What the HTTP gateway refuses, how it says so, and what it takes because it asks for nothing."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.integration.edge import ask, body

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize(
    ("more", "param", "status"),
    [
        ({"tools": [{"type": "function"}]}, "tools[0].function", 400),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools", 400),
        (
            {
                "model": "scripted",  # no call has a threshold
                "tools": [{"type": "function", "function": {"name": "a", "parameters": {"not": {}}, "strict": True}}],
            },
            "tools",
            400,
        ),
        ({"tools": [{"type": "function", "function": {"name": "a"}}] * 129}, "tools", 400),
        ({"tool_choice": "required"}, "tool_choice", 400),
        ({"tool_choice": {"type": "function", "function": {"name": "a"}}}, "tool_choice", 400),
        ({"tool_choice": "sometimes"}, "tool_choice", 400),
        ({"functions": [{"name": "a"}]}, "functions", 400),
        ({"n": 2}, "n", 400),
        ({"guided_regex": "[0-9]+"}, "guided_regex", 400),
        ({"moderation": {"model": "x"}}, "moderation", 400),
        ({"response_format": {"type": "json_object", "schema": {}}}, "response_format.schema", 400),
        (
            {"messages": [{"role": "assistant", "function_call": {}}, {"role": "user", "content": "x"}]},
            "messages[].function_call",
            400,
        ),
        ({"stop": ["x"] * 5}, "stop", 400),
        ({"stop": "x" * 65}, "stop", 400),
        ({"stop": [""]}, "stop", 400),
        ({"stop": 7}, "stop", 400),
        ({"logprobs": True}, "logprobs", 400),
        ({"model": "nobody"}, "model", 404),
        ({"model": "scripted@much"}, "model", 400),
        ({"model": "scripted@1.5"}, "tandem.threshold", 400),
        ({"model": "scripted/large", "tandem": {"threshold": 0.6}}, "tandem.threshold", 400),
        ({"model": "scripted@0.5", "tandem": {"threshold": 0.6}}, "tandem.threshold", 400),
        ({"temperature": 3}, "temperature", 400),
        ({"max_tokens": 0}, "max_tokens", 400),
        ({"max_tokens": 3, "max_completion_tokens": 4}, "max_tokens", 400),
        ({"seed": -1}, "seed", 400),
        ({"tandem": {"tenant": "u" * 65}}, "tandem.tenant", 400),
        ({"metadata": {"a": 1}}, "metadata.a", 400),
        ({"tandem": {"taks": "code"}}, "tandem.taks", 400),
        ({"tandem": {"checks": ["nonsense"]}}, "tandem.checks", 400),
        ({"tandem": {"max_cost_usd": 1e-9}}, "tandem.max_cost_usd", 400),
        ({"response_format": {"type": "json_schema"}}, "response_format", 400),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"not": {}}}}},
            "response_format",
            400,
        ),
        ({"messages": []}, "messages", 400),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0]", 400),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "call_1"}]}, "messages", 400),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role", 400),
        ({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}, "messages", 400),
        ({"messages": [{"role": "user", "content": "x" * 601}]}, "messages", 400),
    ],
)
async def test_what_cannot_be_honoured_is_refused_by_name(
    http: httpx.AsyncClient, more: dict[str, Any], param: str, status: int
) -> None:
    for is_stream in (False, True):
        reply = await ask(http, "[slm_eos=3 scores=0:0.9]", stream=is_stream, **more)
        error = reply.json()["error"]
        assert (reply.status_code, error["param"]) == (status, param), error
        assert error["message"]
        assert error["code"]
        assert error["type"] == "invalid_request_error"


SAID = [
    {"role": "user", "content": [{"type": "text", "text": "Sun?", "cache_control": {"type": "ephemeral"}}]},
    {"role": "assistant", "content": None, "reasoning_content": "Hm.",
     "tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "w", "arguments": "at: x"}}]},
    {"role": "tool", "tool_call_id": "c1", "name": "w", "content": "sun"},
]  # fmt: skip
LONG = {"type": "object", "properties": {"at": {"type": "string", "maxLength": 524288}}}
HINTS = {
    "reasoning_effort": "high",
    "verbosity": "low",
    "store": True,
    "prompt_cache_key": "k",
    "safety_identifier": "s",
    "nonsense": 1,
    "chat_template_kwargs": {"enable_thinking": False},
    "messages": SAID,
    "tool_choice": "none",
    "tools": [{"type": "function", "function": {"name": "w", "parameters": LONG}}, {"type": "web_search"}],
}
NAMED = {
    *(HINTS.keys() - {"messages", "tools", "tool_choice"}),
    "messages[].content[].cache_control",
    "messages[].reasoning_content",
    "messages[].tool_calls[].index",
    "messages[].tool_calls[].function.arguments",
    "messages[].name",
    "tools[type=web_search]",
    "tools[].function.parameters",
}


async def test_a_hint_is_dropped_and_named_in_a_header_the_notes_and_once_in_the_log(
    http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "services.http_gateway.service")
    replies = [await ask(http, "", **HINTS) for _ in range(2)]
    for reply in replies:
        named = reply.headers["x-tandem-dropped"]
        assert set(named.split(", ")) == NAMED
        assert f"not followed: {named}" in reply.json()["tandem"]["notes"]
    assert len([record for record in caplog.records if "nonsense" in record.getMessage()]) == 1


async def test_a_name_that_no_header_can_say_is_not_repeated(http: httpx.AsyncClient) -> None:
    reply = await ask(http, "[scores=0:0.9 slm_eos=3]", **{"a\r\nset-cookie: b": 1, "é": 1, "x" * 200: 1})
    assert (reply.status_code, reply.headers["x-tandem-dropped"]) == (200, "other")


async def test_an_image_is_refused_by_its_place(http: httpx.AsyncClient) -> None:
    parts = [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "data:"}}]
    reply = await http.post("/v1/chat/completions", json=body("x", messages=[{"role": "user", "content": parts}]))
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == "messages[].content[type=image_url]"


async def test_what_asks_for_nothing_is_taken(http: httpx.AsyncClient) -> None:
    nothing = {
        "n": 1,
        "stop": None,
        "logprobs": False,
        "presence_penalty": 0.0,
        "frequency_penalty": 0,
        "tools": [],
        "store": False,
        "tool_choice": "none",
        "logit_bias": {},
        "service_tier": "auto",
        "modalities": ["text"],
    }
    reply = await ask(http, "[slm_eos=3 scores=0:0.9]", **nothing)
    assert (reply.status_code, reply.headers.get("x-tandem-dropped")) == (200, None)


async def test_text_in_parts_and_what_a_reply_repeats_is_read(http: httpx.AsyncClient) -> None:
    script = "[slm=ok_ slm_eos=3 scores=0:0.9]"
    messages = [
        {"role": "developer", "content": [{"type": "text", "text": "Be"}, {"type": "text", "text": "brief."}]},
        {"role": "user", "content": script},
        {"role": "assistant", "content": "ok", "refusal": None, "tool_calls": None, "annotations": []},
        {"role": "user", "content": "And?"},
    ]
    reply = await http.post("/v1/chat/completions", json=body(script, messages=messages))
    assert reply.json()["choices"][0]["message"]["content"] == "ok"


async def test_what_is_not_there_and_what_is_no_json_is_said_in_openais_shape(http: httpx.AsyncClient) -> None:
    assert (await http.get("/v1/nothing")).json()["error"]["type"] == "invalid_request_error"
    broken = await http.post("/v1/chat/completions", content="{", headers={"content-type": "application/json"})
    assert (broken.status_code, broken.json()["error"]["type"]) == (400, "invalid_request_error")
