"""Values that no field of the contract can hold: integers beyond it, text that is no Unicode, numbers that are none.

Whatever carries them, the reply is 400 and names the parameter.
"""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.integration.edge import body

pytestmark = pytest.mark.asyncio(loop_scope="session")
LONE = "a\ud800b"
CHAT, RESPONSES, BATCHES, PAGE = "/v1/chat/completions", "/v1/responses", "/v1/batches", "/api/requests"
SCRIPT = "[scores=0:0.9 slm_eos=3]"
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object", "title": LONE}}}


def _responses(**more: Any) -> dict[str, Any]:
    return {"model": "scripted", "input": SCRIPT} | more


def _batch(**more: Any) -> dict[str, Any]:
    return {"input_file_id": "file-x", "endpoint": CHAT, "completion_window": "24h"} | more


INTEGERS = [
    (CHAT, "max_tokens", lambda big: body(SCRIPT, max_tokens=big), "max_tokens"),
    (CHAT, "max_completion_tokens", lambda big: body(SCRIPT, max_completion_tokens=big), "max_completion_tokens"),
    (CHAT, "max_llm_tokens", lambda big: body(SCRIPT, tandem={"max_llm_tokens": big}), "tandem.max_llm_tokens"),
    (CHAT, "max_stage", lambda big: body(SCRIPT, tandem={"max_stage": big}), "tandem.max_stage"),
    (CHAT, "thresholds", lambda big: body(SCRIPT, tandem={"thresholds": {str(big): 0.5}}), "tandem.thresholds.{big}"),
    (RESPONSES, "max_output_tokens", lambda big: _responses(max_output_tokens=big), "max_output_tokens"),
]


@pytest.mark.parametrize(
    ("path", "made", "param"), [(p, m, q) for p, _, m, q in INTEGERS], ids=[i[1] for i in INTEGERS]
)
@pytest.mark.parametrize("big", [2**32, 2**53, 2**63, 2**64, 10**40])
async def test_an_integer_beyond_the_contract_is_refused_by_name(
    http: httpx.AsyncClient, path: str, made: Any, param: str, big: int
) -> None:
    for is_stream in (False, True):
        reply = await http.post(path, json=made(big) | {"stream": is_stream})
        error = reply.json()["error"]
        assert (reply.status_code, error["param"]) == (400, param.format(big=big))
        assert "4294967295" in error["message"]


@pytest.mark.parametrize(
    ("path", "sent", "param"),
    [
        (CHAT, body(LONE), "messages[1].content"),
        (CHAT, body(SCRIPT, model=LONE), "model"),
        (CHAT, body(SCRIPT, user=LONE), "user"),
        (CHAT, body(SCRIPT, stop=LONE), "stop"),
        (CHAT, body(SCRIPT, stop=["x", LONE]), "stop[1]"),
        (CHAT, body(SCRIPT, metadata={"a": LONE}), "metadata.a"),
        (CHAT, body(SCRIPT, metadata={LONE: "a"}), r"metadata.a\ud800b"),
        (CHAT, body(SCRIPT, tandem={"tenant": LONE}), "tandem.tenant"),
        (CHAT, body(SCRIPT, tandem={"checks": [LONE]}), "tandem.checks[0]"),
        (CHAT, body(SCRIPT, response_format=SCHEMA), "response_format.json_schema.schema.title"),
        (CHAT, body(SCRIPT) | {LONE: 1}, r"a\ud800b"),
        (CHAT, body(SCRIPT, messages=[{"role": LONE, "content": "x"}]), "messages[0].role"),
        (
            CHAT,
            body(SCRIPT, messages=[{"role": "user", "content": [{"type": "text", "text": LONE}]}]),
            "messages[0].content[0].text",
        ),
        (RESPONSES, _responses(input=LONE), "input"),
        (RESPONSES, _responses(instructions=LONE), "instructions"),
        (RESPONSES, _responses(metadata={"a": LONE}), "metadata.a"),
        (
            RESPONSES,
            _responses(text={"format": {"type": "json_schema", "name": LONE, "schema": {}}}),
            "text.format.name",
        ),
        (BATCHES, _batch(input_file_id=LONE), "input_file_id"),
        (BATCHES, _batch(metadata={LONE: "a"}), r"metadata.a\ud800b"),
        (BATCHES, _batch(endpoint=LONE), "endpoint"),
        (PAGE, {"question": LONE}, "question"),
        (PAGE, {"question": "x", "profile": LONE}, "profile"),
    ],
)
async def test_a_lone_surrogate_is_refused_by_its_place(
    http: httpx.AsyncClient, path: str, sent: dict[str, Any], param: str
) -> None:
    reply = await http.post(path, content=json.dumps(sent), headers={"content-type": "application/json"})
    error = reply.json()["error"]
    assert (reply.status_code, error["param"]) == (400, param), error
    assert "Unicode" in error["message"]


@pytest.mark.parametrize("number", ["1e400", "-1e400", "NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize(
    ("path", "sent", "param"),
    [
        (CHAT, body(SCRIPT, temperature=0.5), "temperature"),
        (CHAT, body(SCRIPT, max_tokens=0.5), "max_tokens"),
        (CHAT, body(SCRIPT, tandem={"threshold": 0.5}), "tandem.threshold"),
        (
            CHAT,
            body(
                SCRIPT,
                response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": {"maximum": 0.5}}},
            ),
            "response_format.json_schema.schema.maximum",
        ),
        (
            RESPONSES,
            _responses(text={"format": {"type": "json_schema", "name": "a", "schema": {"maximum": 0.5}}}),
            "text.format.schema.maximum",
        ),
        (BATCHES, _batch(tandem={"max_cost_usd": 0.5}), "tandem.max_cost_usd"),
    ],
)
async def test_a_number_that_is_none_is_refused_by_its_place(
    http: httpx.AsyncClient, path: str, sent: dict[str, Any], param: str, number: str
) -> None:
    content = json.dumps(sent).replace("0.5", number)
    reply = await http.post(path, content=content, headers={"content-type": "application/json"})
    error = reply.json()["error"]
    assert (reply.status_code, error["param"]) == (400, param), error


async def test_zero_may_be_negative_and_the_largest_integers_are_taken(http: httpx.AsyncClient) -> None:
    sent = body(SCRIPT, temperature=-0.0, max_tokens=2**32 - 1, seed=2**64 - 1, tandem={"max_llm_tokens": 2**32 - 1})
    assert (await http.post(CHAT, json=sent)).status_code == 200


@pytest.mark.parametrize("header", ["authorization", "idempotency-key", "traceparent", "tracestate", "baggage"])
@pytest.mark.parametrize("value", [b"Bearer \xe9", b"\xed\xa0\x80", b"a=\xff", b"a=%ED%A0%80"])
async def test_any_byte_in_a_header_is_answered(http: httpx.AsyncClient, header: str, value: bytes) -> None:
    for path, sent in ((CHAT, body(SCRIPT)), (PAGE, {"question": SCRIPT})):
        reply = await http.post(path, json=sent, headers=[(header.encode(), value)])
        assert reply.status_code in (200, 400, 401), reply.text


@pytest.mark.parametrize("query", ["%ED%A0%80", "%FF", "%00"])
async def test_any_byte_in_a_path_or_query_is_answered(http: httpx.AsyncClient, query: str) -> None:
    for path in (f"/v1/models/{query}", f"/api/requests?where={query}", f"/v1/files?after={query}&purpose={query}"):
        reply = await http.get(path)
        assert reply.status_code in (200, 400, 404, 409, 501), (path, reply.text)
        assert reply.status_code == 200 or reply.json()["error"]["message"]
