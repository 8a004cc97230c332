"""The HTTP gateway before a real gateway, Temporal and Redis: what it answers and streams, and what a hang-up does."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import generate_latest

from tandem.local.ports import free_port
from tests.integration.asking import idle
from tests.integration.conftest import System
from tests.integration.edge import ask, body, said, serving, stream

pytestmark = pytest.mark.asyncio(loop_scope="session")


SHARED = "[scores=16:0.9 llm=word_ slm=more_ slm_eos=9]"


async def test_a_completion_has_answer_insight_usage_and_bill(http: httpx.AsyncClient) -> None:
    reply = await ask(http, SHARED)
    assert reply.status_code == 200
    whole = reply.json()
    [choice] = whole["choices"]
    assert choice["message"]["content"] == "word word word wmore mor"
    assert choice["message"]["reasoning_content"].startswith("word word word w")
    assert choice["finish_reason"] == "stop"
    assert (whole["object"], whole["model"]) == ("chat.completion", "scripted")
    own, usage = whole["tandem"], whole["usage"]
    roles = [own["usage"][role] for role in ("llm", "slm", "scorer")]
    assert usage["prompt_tokens"] == sum(role["input_tokens"] + role["cached_input_tokens"] for role in roles)
    assert usage["prompt_tokens_details"]["cached_tokens"] == sum(role["cached_input_tokens"] for role in roles) > 0
    generated = [role["output_tokens"] + role["overrun_tokens"] for role in roles]
    assert usage["completion_tokens"] == sum(generated)
    assert usage["completion_tokens_details"]["reasoning_tokens"] == generated[0] >= 16
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["cost"] == own["cost"]["usd"] > 0
    assert (own["stop"]["stage"], own["stop"]["reason"]) == (1, "sufficient")
    assert whole["id"] == f"chatcmpl-{reply.headers['x-request-id']}"
    assert reply.headers["x-tandem-trace-id"] == own["trace_id"]
    assert float(reply.headers["x-tandem-cost-usd"]) == pytest.approx(usage["cost"], abs=1e-9)
    assert (reply.headers["x-tandem-stop-stage"], reply.headers["x-tandem-stop-reason"]) == ("1", "sufficient")


@pytest.mark.parametrize(
    ("script", "more"),
    [
        (SHARED, {}),
        ("[scores=0:0.9 slm=__more_ slm_eos=9]", {}),
        ("[scores=32:0.6,48:0.2 slm_eos=5]", {}),
        (r"[scores=16:0.9 slm=\boxed{7}_ slm_eos=10]", {"tandem": {"task": "answer"}}),
        ('[slm={"a":_1} slm_eos=9 scores=0:0.9]', {"response_format": {"type": "json_object"}}),
    ],
    ids=["continued", "small", "best-stage", "boxed", "json"],
)
async def test_the_pieces_of_a_stream_are_the_completion(
    http: httpx.AsyncClient, script: str, more: dict[str, Any]
) -> None:
    whole = (await ask(http, script, **more)).json()
    chunks = await stream(http, script, stream_options={"include_usage": True}, **more)
    message = whole["choices"][0]["message"]
    assert said(chunks) == message["content"] != ""
    *before, last, usage = chunks
    assert before[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert last["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
    assert last["tandem"]["stop"] == whole["tandem"]["stop"]
    assert (usage["choices"], usage["usage"]["completion_tokens_details"].keys()) == ([], {"reasoning_tokens"})
    assert {chunk["id"] for chunk in chunks} == {before[0]["id"]}


async def test_content_is_what_was_written_and_its_final_value_stands_beside_it(http: httpx.AsyncClient) -> None:
    reply = await ask(http, r"[scores=16:0.9 slm=\boxed{410}_ slm_eos=12]", tandem={"task": "answer"})
    assert reply.json()["choices"][0]["message"]["content"] == "x" * 16 + r"\boxed{410}"
    assert reply.json()["tandem"]["answer"] == "410"
    assert "answer" not in (await ask(http, SHARED)).json()["tandem"]


async def test_a_large_model_that_nothing_stops_streams_its_answer(finishing_system: System) -> None:
    asked = {"model": "scripted-finishing"}
    async with serving(finishing_system.client.address) as http:
        chunks = await stream(http, "[llm=word_ llm_eos=30 ms=5]", **asked)
        whole = (await ask(http, "[llm=word_ llm_eos=30]", **asked)).json()
    assert said(chunks) == " ".join(["word"] * 6)
    assert said(chunks, "reasoning_content") == ""
    assert len([chunk for chunk in chunks if said([chunk])]) > 3  # in pieces, not at the end
    assert "reasoning_content" not in whole["choices"][0]["message"]
    assert whole["usage"]["completion_tokens_details"]["reasoning_tokens"] == 0
    await idle(finishing_system)


async def test_without_include_usage_no_chunk_has_usage(http: httpx.AsyncClient) -> None:
    assert not any("usage" in chunk for chunk in await stream(http, SHARED))


async def test_a_cap_says_length(http: httpx.AsyncClient) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        [choice] = (await ask(http, SHARED, **{name: 20})).json()["choices"]
        assert (choice["finish_reason"], choice["message"]["content"]) == ("length", "word word word wmore")


async def test_user_and_metadata_are_kept(http: httpx.AsyncClient, system: System) -> None:
    own, exported = {"tenant": "lab"}, InMemorySpanExporter()  # as with TANDEM_TELEMETRY_TEXT=true
    provider: Any = trace.get_tracer_provider()
    provider.add_span_processor(SimpleSpanProcessor(exported))
    reply = await ask(http, "[slm_eos=3 scores=0:0.9]", user="Ada", metadata={"run": "7"}, tandem=own)
    assert reply.json()["tandem"]["metadata"] == {"run": "7"}
    memo = await (await system.temporal.get_workflow_handle(reply.headers["x-request-id"]).describe()).memo()
    assert memo["tenant"] == "lab"
    exported.shutdown()
    [span] = [s for s in exported.get_finished_spans() if (s.attributes or {}).get("tandem.metadata.run") == "7"]
    assert (span.attributes or {})["enduser.id"] == "Ada"
    assert f"{span.context.trace_id:032x}" == reply.headers["x-tandem-trace-id"]


async def test_a_clients_trace_goes_on(http: httpx.AsyncClient) -> None:
    trace_id = uuid4().hex
    headers = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
    reply = await http.post("/v1/chat/completions", json=body("[slm_eos=3 scores=0:0.9]"), headers=headers)
    assert reply.headers["x-tandem-trace-id"] == trace_id


async def test_an_idempotency_key_pays_once_and_refuses_another_body(http: httpx.AsyncClient, system: System) -> None:
    headers = {"Idempotency-Key": uuid4().hex}
    first = await http.post("/v1/chat/completions", json=body(SHARED), headers=headers)
    await idle(system)
    spent = system.llm.counters.output_tokens, system.slm.counters.output_tokens
    second = await http.post("/v1/chat/completions", json=body(SHARED), headers=headers)
    assert second.json()["choices"] == first.json()["choices"]
    assert (system.llm.counters.output_tokens, system.slm.counters.output_tokens) == spent
    other = await http.post("/v1/chat/completions", json=body("[slm_eos=4]"), headers=headers)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "request_id_reused")
    assert other.headers["x-should-retry"] == "false"
    bad = await http.post("/v1/chat/completions", json=body("x"), headers={"Idempotency-Key": "a b"})
    assert bad.json()["error"]["param"] == "Idempotency-Key"


async def state(system: System, request_id: str) -> str:
    await idle(system)
    while True:
        found = await system.client.get(request_id)
        if found.result.request_id:
            return str(found.result.stop.reason)
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("key", [True, False], ids=["keyed", "unkeyed"])
async def test_a_client_that_hangs_up_in_a_stream_stops_the_models(
    http: httpx.AsyncClient, system: System, key: bool
) -> None:
    headers = {"Idempotency-Key": uuid4().hex} if key else {}
    asked = {"json": body("[llm_hold=5]", stream=True), "headers": headers}
    async with http.stream("POST", "/v1/chat/completions", **asked) as reply:
        async for line in reply.aiter_lines():
            if "reasoning_content" in line:
                break
        assert system.llm.running
    assert await state(system, reply.headers["x-request-id"]) == "7"  # cancelled


async def test_a_client_that_hangs_up_while_it_waits_stops_the_models(http: httpx.AsyncClient, system: System) -> None:
    key = uuid4().hex
    asking = http.post("/v1/chat/completions", json=body("[llm_hold=5]"), headers={"Idempotency-Key": key})
    waiting = asyncio.create_task(asking)
    while not system.llm.running:
        await asyncio.sleep(0.01)
    waiting.cancel()
    assert await state(system, key) == "7"


async def test_a_request_that_somebody_cancels_ends_in_an_error(http: httpx.AsyncClient, system: System) -> None:
    for is_stream in (False, True):
        key = uuid4().hex
        asked = body("[llm_hold=5]", stream=is_stream)
        asking = http.post("/v1/chat/completions", json=asked, headers={"Idempotency-Key": key})
        waiting = asyncio.create_task(asking)
        while not system.llm.running:
            await asyncio.sleep(0.01)
        await system.client.cancel(key)
        reply = await waiting
        if is_stream:
            last = [line for line in reply.text.splitlines() if line][-1]
            assert json.loads(last.removeprefix("data: "))["error"]["code"] == "cancelled"
        else:
            assert (reply.status_code, reply.json()["error"]["code"]) == (499, "cancelled")
        await idle(system)


async def test_a_request_that_fails_ends_in_an_error(http: httpx.AsyncClient) -> None:
    reply = await ask(http, "[fail=slm scores=0:0.9]")
    assert (reply.status_code, reply.json()["error"]["type"]) == (503, "api_error")


async def test_models_are_the_profiles(http: httpx.AsyncClient) -> None:
    listed = (await http.get("/v1/models")).json()
    assert [model["id"] for model in listed["data"]] == ["scripted", "scripted/large", "scripted/slm"]
    assert {model["object"] for model in listed["data"]} == {"model"}
    assert (await http.get("/v1/models/scripted/slm")).json()["id"] == "scripted/slm"
    assert (await http.get("/v1/models/scripted@0.6")).json()["id"] == "scripted@0.6"
    missing = await http.get("/v1/models/nobody")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(("member", "answered_by", "silent"), [("large", "llm", "slm"), ("slm", "slm", "llm")])
@pytest.mark.parametrize(
    "offers", [{}, {"tools": [{"type": "function", "function": {"name": "w"}}]}], ids=["text", "tools"]
)
async def test_a_model_that_is_named_answers_alone_and_is_billed_as_such(
    http: httpx.AsyncClient, member: str, answered_by: str, silent: str, offers: dict[str, Any]
) -> None:
    script = "[scores=0:0.9 slm=small_ slm_eos=6 llm=large_ llm_eos=6]"
    reply = (await ask(http, script, model=f"scripted/{member}", **offers)).json()
    assert reply["choices"][0]["message"]["content"].split()[0] == {"llm": "large", "slm": "small"}[answered_by]
    assert reply["tandem"]["answered_by"] == answered_by
    usage = reply["tandem"]["usage"]
    assert usage[answered_by]["output_tokens"] > 0
    assert usage[silent]["output_tokens"] == 0, usage


async def test_health_and_the_page_of_the_api(http: httpx.AsyncClient) -> None:
    assert (await http.get("/healthz")).text == (await http.get("/readyz")).text == "ok"
    assert 'tandem_http_requests_total{route="/healthz",status="200"}' in generate_latest().decode()
    assert (await http.get("/metrics")).status_code == 404  # they are on a port of their own
    page = (await http.get("/docs")).text
    assert "https://" not in page  # nothing from elsewhere
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert f"/docs/assets/{asset}" in page
        assert (await http.get(f"/docs/assets/{asset}")).status_code == 200
    described = (await http.get("/openapi.json")).json()["paths"]
    assert {"/v1/chat/completions", "/v1/models"} <= set(described)


async def test_without_a_gateway_it_is_alive_and_not_ready() -> None:
    async with serving(f"127.0.0.1:{free_port()}") as http:
        assert (await http.get("/healthz")).status_code == 200
        assert (await http.get("/readyz")).status_code == 503
        assert (await http.get("/v1/models")).status_code == 503
