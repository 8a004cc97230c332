"""What readers of bodies take, name and refuse, in the shape of each API, without a server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel

from services.http_gateway import errors
from services.http_gateway.batches import NewBatch
from services.http_gateway.failures import reply_of
from services.http_gateway.page import Asked
from services.http_gateway.reading import parsed
from tandem.openai.chat_request import ChatCompletionRequest
from tandem.openai.messages_request import MessagesRequest
from tandem.openai.parameters import RefusedParameter
from tandem.openai.protocols import AnyBody
from tandem.openai.responses_request import ResponsesRequest
from tandem.v1 import tandem_pb2

CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
BATCHES, PAGE = "/v1/batches", "/api/requests"
READERS: dict[str, type[BaseModel]] = {
    CHAT: ChatCompletionRequest,
    RESPONSES: ResponsesRequest,
    MESSAGES: MessagesRequest,
    BATCHES: NewBatch,
    PAGE: Asked,
}
SAID = [{"role": "user", "content": "Hi"}]
LEAST: dict[str, dict[str, Any]] = {
    CHAT: {"model": "scripted", "messages": SAID},
    RESPONSES: {"model": "scripted", "input": "Hi"},
    MESSAGES: {"model": "scripted", "max_tokens": 9, "messages": SAID},
    BATCHES: {"input_file_id": "file-x", "endpoint": CHAT, "completion_window": "24h"},
    PAGE: {},
}


def read(path: str, content: bytes) -> tandem_pb2.SolveRequest | None:
    """The request that the body of a path becomes; None where it becomes none."""
    body = parsed(content, READERS[path])
    return body.as_solve_request("r") if isinstance(body, AnyBody) else None


def refused(path: str, content: bytes) -> dict[str, Any]:
    """The body of the reply to what is refused, whose status is 400."""
    try:
        read(path, content)
    except RefusedParameter as error:
        failed = errors.from_parameter(error)
    except RequestValidationError as error:
        failed = errors.from_validation(error.errors())
    else:
        pytest.fail("it is taken")
    reply = reply_of(failed, path)
    assert reply.status_code == 400
    shown: dict[str, Any] = json.loads(bytes(reply.body))
    return shown


def made(path: str, more: dict[str, Any]) -> bytes:
    return json.dumps(LEAST[path] | more).encode()


FUNCTION = {"type": "function", "function": {"name": "a"}}
TOOL = {"type": "function", "name": "f"}
CALL = {"type": "function_call", "call_id": "c", "name": "n", "arguments": "{}"}
USE = {"type": "tool_use", "id": "c", "name": "n", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "c", "content": "x"}


@pytest.mark.parametrize(
    ("path", "more", "param"),
    [
        (CHAT, {"tools": [{"type": "function"}]}, "tools[0].function"),
        (CHAT, {"tools": [FUNCTION] * 129}, "tools"),
        (CHAT, {"tool_choice": "required"}, "tool_choice"),
        (CHAT, {"tool_choice": FUNCTION}, "tool_choice"),
        (CHAT, {"tool_choice": "sometimes"}, "tool_choice"),
        (CHAT, {"functions": [{"name": "a"}]}, "functions"),
        (CHAT, {"n": 2}, "n"),
        (CHAT, {"guided_regex": "[0-9]+"}, "guided_regex"),
        (CHAT, {"moderation": {"model": "x"}}, "moderation"),
        (CHAT, {"response_format": {"type": "json_object", "schema": {}}}, "response_format.schema"),
        (CHAT, {"response_format": {"type": "json_schema"}}, "response_format"),
        (CHAT, {"messages": [{"role": "assistant", "function_call": {}}, *SAID]}, "messages[].function_call"),
        (CHAT, {"stop": 7}, "stop"),
        (CHAT, {"logprobs": True}, "logprobs"),
        (CHAT, {"model": "scripted@much"}, "model"),
        (CHAT, {"model": "scripted@0.5", "tandem": {"threshold": 0.6}}, "tandem.threshold"),
        (CHAT, {"temperature": 3}, "temperature"),
        (CHAT, {"max_tokens": 0}, "max_tokens"),
        (CHAT, {"max_tokens": 3, "max_completion_tokens": 4}, "max_tokens"),
        (CHAT, {"seed": -1}, "seed"),
        (CHAT, {"metadata": {"a": 1}}, "metadata.a"),
        (CHAT, {"tandem": {"taks": "code"}}, "tandem.taks"),
        (CHAT, {"messages": []}, "messages"),
        (CHAT, {"messages": [{"role": "tool", "content": "x"}]}, "messages[0]"),
        (CHAT, {"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        (RESPONSES, {"background": True}, "background"),
        (RESPONSES, {"previous_response_id": "resp_1"}, "previous_response_id"),
        (RESPONSES, {"tools": [{"type": "web_search"}], "tool_choice": "required"}, "tool_choice"),
        (
            RESPONSES,
            {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}},
            "tool_choice.allowed_tools.tools",
        ),
        (RESPONSES, {"tools": [{"type": "namespace", "name": "g", "tools": [TOOL] * 129}]}, "tools"),
        (RESPONSES, {"text": {"format": {"type": "json_schema", "name": "a"}}}, "text.format"),
        (RESPONSES, {"input": []}, "input"),
        (RESPONSES, {"input": [{"type": "reasoning"}]}, "input"),
        (RESPONSES, {"input": SAID * 1024, "instructions": "Be brief."}, "input"),
        (RESPONSES, {"input": [{"type": "item_reference", "id": "x"}]}, "input[type=item_reference]"),
        (RESPONSES, {"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        (RESPONSES, {"input": [*SAID, *[CALL] * 129]}, "input[1].tool_calls"),
        (RESPONSES, {"input": [*SAID, CALL | {"call_id": ""}]}, "input[1].tool_calls[0].id"),
        (RESPONSES, {"input": [{"type": "function_call_output", "call_id": "", "output": "x"}]}, "input[0]"),
        (RESPONSES, {"metadata": {"a": "x" * 513}}, "metadata.a"),
        (RESPONSES, {"max_output_tokens": 0}, "max_output_tokens"),
    ],
)  # fmt: skip
def test_what_a_reader_refuses_is_named_by_its_place_in_openais_shape(
    path: str, more: dict[str, Any], param: str
) -> None:
    error = refused(path, made(path, more))["error"]
    assert (error["param"], error["type"]) == (param, "invalid_request_error"), error
    assert error["message"]
    assert error["code"]


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"container": "c1"}, "container"),
        ({"inference_geo": "eu"}, "inference_geo"),
        ({"tools": [{"type": "web_search_20250305", "name": "w"}], "tool_choice": {"type": "any"}}, "no tools"),
        ({"tools": [{"type": "custom", "name": "a"}]}, "tools[0].input_schema"),
        ({"tool_choice": {"type": "auto", "name": "a"}}, "tool_choice"),
        ({"messages": SAID * 1024, "system": "Be brief."}, "messages: List should have at most 1024 items"),
        ({"messages": [{"role": "user", "content": [RESULT] * 1025}]}, "messages: List should have at most 1024 items"),
        ({"messages": [*SAID, {"role": "assistant", "content": [USE] * 129}]}, "messages[1].tool_calls: List"),
    ],
)
def test_what_a_reader_of_messages_refuses_is_named_in_anthropics_shape(more: dict[str, Any], named: str) -> None:
    shown = refused(MESSAGES, made(MESSAGES, more))
    assert (shown["type"], shown["error"]["type"]) == ("error", "invalid_request_error")
    assert named in shown["error"]["message"]


def test_a_thread_is_refused_so_that_anthropics_clients_go_on_without_one() -> None:
    error = refused(MESSAGES, made(MESSAGES, {"thread": {"type": "create"}}))["error"]
    assert error["details"] == {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}


LONG = {"type": "object", "properties": {"at": {"type": "string", "maxLength": 524288}}}
CACHE = {"type": "ephemeral", "ttl": "1h"}
HINTS: list[tuple[str, dict[str, Any], set[str]]] = [
    (
        CHAT,
        {
            "reasoning_effort": "high", "verbosity": "low", "store": True, "prompt_cache_key": "k",
            "safety_identifier": "s", "nonsense": 1, "chat_template_kwargs": {"enable_thinking": False},
            "tools": [{"type": "function", "function": {"name": "w", "parameters": LONG}}, {"type": "web_search"}],
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "Sun?", "cache_control": CACHE}]},
                {"role": "assistant", "content": None, "reasoning_content": "Hm.", "tool_calls": [
                    {"index": 0, "id": "c", "type": "function", "function": {"name": "w", "arguments": "at: x"}}]},
                {"role": "tool", "tool_call_id": "c", "name": "w", "content": "sun"},
            ],
        },
        {
            "reasoning_effort", "verbosity", "store", "prompt_cache_key", "safety_identifier", "nonsense",
            "chat_template_kwargs", "messages[].content[].cache_control", "messages[].reasoning_content",
            "messages[].tool_calls[].index", "messages[].tool_calls[].function.arguments", "messages[].name",
            "tools[type=web_search]", "tools[].function.parameters",
        },
    ),
    (
        RESPONSES,
        {
            "reasoning": {"effort": "high", "summary": "auto"}, "include": ["reasoning.encrypted_content"],
            "store": True, "prompt_cache_key": "k", "client_metadata": {"a": "b"}, "text": {"verbosity": "low"},
            "tools": [{"type": "web_search"}],
            "input": [*SAID, {"type": "reasoning", "id": "r", "summary": []},
                      {"role": "assistant", "content": "Yes.", "phase": "final"}, *SAID],
        },
        {
            "reasoning.effort", "reasoning.summary", "include", "store", "prompt_cache_key", "client_metadata",
            "text.verbosity", "tools[type=web_search]", "input[type=reasoning]", "input[].phase",
        },
    ),
    (
        MESSAGES,
        {
            "thinking": {"type": "enabled", "budget_tokens": 1024}, "context_management": {"edits": []},
            "output_config": {"effort": "low"}, "top_k": 5, "cache_control": CACHE, "nonsense": 1,
            "tools": [{"name": "w", "input_schema": {}, "cache_control": CACHE, "eager_input_streaming": True,
                       "defer_loading": True}, {"type": "web_search_20250305", "name": "web_search"}],
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "Sun?", "cache_control": CACHE}]},
                {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm.", "signature": "s"},
                                                  {"type": "text", "text": "Yes."}]},
                *SAID, {"role": "system", "content": "Be brief."},
            ],
        },
        {
            "thinking", "context_management", "output_config.effort", "top_k", "cache_control", "nonsense",
            "messages[].content[].cache_control", "messages[].content[type=thinking]", "tools[].eager_input_streaming",
            "tools[].cache_control", "tools[].defer_loading", "tools[type=web_search_20250305]",
        },
    ),
    (CHAT, {"a\r\nset-cookie: b": 1, "é": 1, "x" * 200: 1}, {"other"}),  # which no header can say
    (
        CHAT,
        {
            "n": 1, "stop": None, "logprobs": False, "presence_penalty": 0.0, "frequency_penalty": 0, "tools": [],
            "store": False, "tool_choice": "none", "logit_bias": {}, "service_tier": "auto", "modalities": ["text"],
        },
        set(),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("path", "more", "named"), HINTS)
def test_a_hint_is_taken_and_named_and_what_asks_for_nothing_is_not(
    path: str, more: dict[str, Any], named: set[str]
) -> None:
    body = parsed(made(path, more), READERS[path])
    assert isinstance(body, AnyBody)
    assert set(body.dropped()) == named
    assert body.as_solve_request("r").messages


def test_text_in_parts_and_what_a_reply_repeats_is_read() -> None:
    said = [
        {"role": "developer", "content": [{"type": "text", "text": "Be"}, {"type": "text", "text": "brief."}]},
        {"role": "assistant", "content": "ok", "refusal": None, "tool_calls": None, "annotations": []},
        *SAID,
    ]
    request = read(CHAT, made(CHAT, {"messages": said}))
    assert request
    assert [message.text for message in request.messages] == ["Be\nbrief.", "ok", "Hi"]


INTEGERS: list[tuple[str, Any, str]] = [
    (CHAT, lambda big: {"max_tokens": big}, "max_tokens"),
    (CHAT, lambda big: {"max_completion_tokens": big}, "max_completion_tokens"),
    (CHAT, lambda big: {"tandem": {"max_llm_tokens": big}}, "tandem.max_llm_tokens"),
    (CHAT, lambda big: {"tandem": {"max_stage": big}}, "tandem.max_stage"),
    (CHAT, lambda big: {"tandem": {"thresholds": {str(big): 0.5}}}, "tandem.thresholds.{big}"),
    (RESPONSES, lambda big: {"max_output_tokens": big}, "max_output_tokens"),
]


@pytest.mark.parametrize(("path", "more", "param"), INTEGERS, ids=[param for *_, param in INTEGERS])
@pytest.mark.parametrize("big", [2**32, 2**53, 2**63, 2**64, 10**40])
def test_an_integer_beyond_the_contract_is_refused_by_name(path: str, more: Any, param: str, big: int) -> None:
    error = refused(path, made(path, more(big)))["error"]
    assert error["param"] == param.format(big=big)
    assert "4294967295" in error["message"]


LONE = "a\ud800b"
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object", "title": LONE}}}


@pytest.mark.parametrize(
    ("path", "more", "param"),
    [
        (CHAT, {"messages": [*SAID, {"role": "user", "content": LONE}]}, "messages[1].content"),
        (CHAT, {"model": LONE}, "model"),
        (CHAT, {"user": LONE}, "user"),
        (CHAT, {"stop": LONE}, "stop"),
        (CHAT, {"stop": ["x", LONE]}, "stop[1]"),
        (CHAT, {"metadata": {"a": LONE}}, "metadata.a"),
        (CHAT, {"metadata": {LONE: "a"}}, r"metadata.a\ud800b"),
        (CHAT, {"tandem": {"tenant": LONE}}, "tandem.tenant"),
        (CHAT, {"tandem": {"checks": [LONE]}}, "tandem.checks[0]"),
        (CHAT, {"response_format": SCHEMA}, "response_format.json_schema.schema.title"),
        (CHAT, {LONE: 1}, r"a\ud800b"),
        (CHAT, {"messages": [{"role": LONE, "content": "x"}]}, "messages[0].role"),
        (
            CHAT,
            {"messages": [{"role": "user", "content": [{"type": "text", "text": LONE}]}]},
            "messages[0].content[0].text",
        ),
        (RESPONSES, {"input": LONE}, "input"),
        (RESPONSES, {"instructions": LONE}, "instructions"),
        (RESPONSES, {"metadata": {"a": LONE}}, "metadata.a"),
        (RESPONSES, {"text": {"format": {"type": "json_schema", "name": LONE, "schema": {}}}}, "text.format.name"),
        (BATCHES, {"input_file_id": LONE}, "input_file_id"),
        (BATCHES, {"metadata": {LONE: "a"}}, r"metadata.a\ud800b"),
        (BATCHES, {"endpoint": LONE}, "endpoint"),
        (PAGE, {"question": LONE}, "question"),
        (PAGE, {"question": "x", "profile": LONE}, "profile"),
    ],
)
def test_a_lone_surrogate_is_refused_by_its_place(path: str, more: dict[str, Any], param: str) -> None:
    error = refused(path, made(path, more))["error"]
    assert error["param"] == param
    assert "Unicode" in error["message"]


@pytest.mark.parametrize("number", ["1e400", "-1e400", "NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize(
    ("path", "more", "param"),
    [
        (CHAT, {"temperature": 0.5}, "temperature"),
        (CHAT, {"max_tokens": 0.5}, "max_tokens"),
        (CHAT, {"tandem": {"threshold": 0.5}}, "tandem.threshold"),
        (
            CHAT,
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"maximum": 0.5}}}},
            "response_format.json_schema.schema.maximum",
        ),
        (
            RESPONSES,
            {"text": {"format": {"type": "json_schema", "name": "a", "schema": {"maximum": 0.5}}}},
            "text.format.schema.maximum",
        ),
        (BATCHES, {"tandem": {"max_cost_usd": 0.5}}, "tandem.max_cost_usd"),
    ],
)
def test_a_number_that_is_none_is_refused_by_its_place(
    path: str, more: dict[str, Any], param: str, number: str
) -> None:
    assert refused(path, made(path, more).replace(b"0.5", number.encode()))["error"]["param"] == param


def test_the_largest_integers_are_taken() -> None:
    more = {"max_tokens": 2**32 - 1, "seed": 2**64 - 1, "tandem": {"max_llm_tokens": 2**32 - 1}}
    request = read(CHAT, made(CHAT, more))
    assert request
    assert (request.sampling.seed, request.budget.max_llm_tokens) == (2**64 - 1, 2**32 - 1)


@pytest.mark.parametrize("path", READERS)
def test_what_is_no_json_is_refused_in_the_shape_of_its_api(path: str) -> None:
    assert "no JSON" in refused(path, b"{")["error"]["message"]
