"""A caller whose protocol the large model's API speaks: its own body is sent, as if it had asked there."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from redis.asyncio import Redis

from services.models.engine.remote import circuit
from services.models.engine.remote.anthropic_writer import AnthropicWriter
from services.models.engine.remote.api_writer import ApiSettings, ApiWriter
from services.models.engine.remote.openai_writer import OpenAIWriter
from services.models.engine.remote.responses_writer import ResponsesWriter
from services.shared.identity.authentication import ApiKeys, Authentication
from tandem.access.keys import KeyFile
from tandem.method.profile.endpoint import Capabilities
from tandem.openai.schemas import loosened
from tests.caching_api import CachingApi, prompt_of
from tests.integration.conftest import NO_AUTHENTICATION, run_system
from tests.integration.edge import serving
from tests.integration.test_agents import RECORDED
from tests.recorded_api import (
    Answer,
    Events,
    RecordedApi,
    anthropic_events,
    openai_call,
    openai_chunks,
    openai_usage,
    recorded_api,
    responses_call,
    responses_events,
    responses_text,
    responses_usage,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")
KINDS: dict[str, type[ApiWriter]] = {
    "anthropic": AnthropicWriter,
    "openai": OpenAIWriter,
    "responses": ResponsesWriter,
}
BETAS = {  # as Claude Code 2.1.197 sends them
    "anthropic-beta": "claude-code-20250219, interleaved-thinking-2025-05-14, thinking-token-count-2026-05-13, "
    "context-management-2025-06-27, prompt-caching-scope-2026-01-05, mid-conversation-system-2026-04-07, "
    "effort-2025-11-24"
}
CLAUDE = ["claude-code-turn-1", "claude-code-turn-3"]
CODEX = ["codex-turn-1", "codex-turn-3"]
OURS = ("model", "max_tokens", "max_completion_tokens", "max_output_tokens", "stream", "stream_options")
SEARCHES = 'pass = ["web_search", "client_metadata"]\nfees = {web_search = 0.01}'
CAN = Capabilities(tools=True, json_schema=True)


@contextlib.asynccontextmanager
async def pair(
    protocol: str,
    answer: Callable[[str, dict[str, Any]], Answer],
    folder: Path,
    redis_url: str,
    temporal: str,
    allowed: str = "",
    authentication: Authentication = NO_AUTHENTICATION,
    stop: str = "",
) -> AsyncIterator[tuple[httpx.AsyncClient, RecordedApi]]:
    """The scripted pair, whose large model is behind an API, to which the operator has `allowed` more. `stop`: more
    lines of that section.
    """
    with recorded_api(answer) as api:
        url = api.url if protocol == "anthropic" else f"{api.url}/v1"
        text = (Path(__file__).parents[1] / "profiles" / "scripted" / "profile.toml").read_text()
        large = f'[llm.api]\nprotocol = "{protocol}"\nurl = "{url}"\nmodel = "m"\n{allowed}\n\n[slm]\n'
        text = text.replace("[slm]\n", large, 1).replace("_tokens = 600", "_tokens = 60000")
        text = text.replace("[stop]\n", f"[stop]\n{stop}")
        (folder / "scripted").mkdir()
        (folder / "scripted" / "profile.toml").write_text(text)
        engine = KINDS[protocol](ApiSettings("scripted-llm", url, "k", model="m", can=CAN))
        engine.start()
        running = run_system(
            "scripted", folder, redis_url, temporal,
            alias=f"own-{protocol}", endpoint=engine, authentication=authentication,
        )  # fmt: skip
        async with (
            running as system,
            serving(system.client.address) as http,
        ):
            yield http, api
        engine.stop()


def without(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in OURS}


def as_own_server(body: dict[str, Any]) -> dict[str, Any]:
    """As a server that is not a vendor's gets it: schemas have no bound that no text can be held to."""
    return body | {"tools": [tool | {"input_schema": loosened(tool["input_schema"])} for tool in body["tools"]]}


async def test_what_claude_code_sends_reaches_the_vendor_as_it_is_and_is_cached_as_directly(
    redis_url: str, temporal_address: str, tmp_path: Path
) -> None:
    through, direct = CachingApi(), CachingApi()
    async with pair("anthropic", through.answer, tmp_path, redis_url, temporal_address) as (http, api):
        for number, name in enumerate(CLAUDE * 2):
            sent = json.loads(RECORDED[name]) | {"model": "scripted-own-anthropic/large", "stream": bool(number % 2)}
            reply = await http.post("/v1/messages", json=sent, headers=BETAS)
            assert reply.status_code == 200, reply.text
            assert "x-tandem-dropped" not in reply.headers
            sent = as_own_server(sent)
            direct.answer("/v1/messages", sent)
            path, got = api.asked[-1]
            assert (path, got["model"], got["stream"], got["max_tokens"]) == ("/v1/messages", "m", True, 64)
            assert json.dumps(prompt_of(got)) == json.dumps(prompt_of(sent))
            assert without(got) == without(sent)
            assert api.headers[-1]["anthropic-beta"] == BETAS["anthropic-beta"].replace(" ", "")
    assert through.usage == direct.usage
    assert through.share() == direct.share() > 0.5


PLAIN = {"model": "scripted-own-openai/large", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}


async def test_openais_own_parameters_and_images_reach_an_api_of_its_protocol(
    redis_url: str, temporal_address: str, tmp_path: Path
) -> None:
    def answer(path: str, body: dict[str, Any]) -> Answer:
        if path.endswith("/models"):
            return Answer({"object": "list", "data": [{"id": "m", "object": "model"}]})
        return Answer(events=openai_chunks(["A cat."], openai_usage(20, 2)))

    seen = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    sent = {
        "model": "scripted-own-openai",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, seen], "name": "ann"}],
        "reasoning_effort": "high",
        "prompt_cache_key": "session-1",
        "logit_bias": {"50256": -100},
        "service_tier": "priority",
    }
    async with pair("openai", answer, tmp_path, redis_url, temporal_address) as (http, api):
        reply = await http.post("/v1/chat/completions", json=sent)
        plain = await http.post("/v1/messages", json=PLAIN | {"top_k": 3, "output_config": {"effort": "max"}})
        shown = {**sent, "model": "scripted-own-openai/slm"}
        refused = await http.post("/v1/chat/completions", json=shown)
        spent = {"Idempotency-Key": uuid4().hex, "x-tandem-session": uuid4().hex, "x-tandem-max-session-usd": "0"}
        unpaid = await http.post("/v1/chat/completions", json=sent, headers=spent)
    assert (unpaid.status_code, unpaid.json()["error"]["code"]) == (400, "session_budget_spent")
    async with Redis.from_url(redis_url) as redis:  # of a refused request no text stays
        assert await redis.exists(f"{{{reply.headers['x-request-id']}}}:bodies")
        assert not await redis.exists(f"{{{spent['Idempotency-Key']}}}:bodies")
    assert reply.json()["choices"][0]["message"]["content"] == "A cat."
    assert reply.headers["x-tandem-dropped"] == "service_tier"  # which would cost more than its bill says
    expected = without(sent)
    del expected["service_tier"]
    assert without(api.asked[0][1]) == expected
    assert (plain.status_code, plain.headers["x-tandem-dropped"]) == (200, "top_k")
    assert api.asked[1][1]["reasoning_effort"] == "xhigh"
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] in ("messages[].content[type=image_url]", "logit_bias")


async def test_what_only_the_large_model_can_read_is_answered_by_no_other_where_that_is_away(
    redis_url: str, temporal_address: str, tmp_path: Path
) -> None:
    def answer(path: str, body: dict[str, Any]) -> Answer:
        if path.endswith("/models"):
            return Answer({"object": "list", "data": [{"id": "m", "object": "model"}]})
        return Answer({"error": {"message": "no such image"}}, status=400 if "images" in str(body) else 503)

    async with pair("openai", answer, tmp_path, redis_url, temporal_address) as (http, _):
        for name, more, status, says in (
            ("", {}, 503, "the large model 'scripted-llm' failed"),
            ("", {"logit_bias": {"5": 1}}, 503, "the large model 'scripted-llm' failed"),
            ("", {"user": "images"}, 400, "no such image"),
            ("/large", {}, 503, "the large model 'scripted-llm' failed"),
            ("", {"tandem": {"max_llm_tokens": 0}}, 400, "is passed on"),
        ):
            url = {"url": "data:image/png;base64,AAAA"}
            content = "Hi" if name or "logit_bias" in more else [{"type": "image_url", "image_url": url}]
            sent = {"model": f"scripted-own-openai{name}", "messages": [{"role": "user", "content": content}], **more}
            reply = await http.post("/v1/chat/completions", json=sent, timeout=60)
            assert reply.status_code == status, reply.text
            assert says in reply.json()["error"]["message"]


THOUGHT: list[dict[str, Any]] = [
    {"type": "thinking", "thinking": "Let me look. Yes.", "signature": "c2lnbmVk"},
    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "hello"}},
    {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [{"type": "web_search_result"}]},
    {"type": "text", "text": "Now I write it."},
    {"type": "tool_use", "id": "toolu_01", "name": "Write", "input": {"file_path": "a", "content": "b"}},
]
PARTS = {"thinking": "thinking", "text": "text", "server_tool_use": "partial_json", "tool_use": "partial_json"}


def streamed(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events of these blocks, as docs.claude.com has them; each text comes in two pieces."""
    events: list[dict[str, Any]] = []
    for index, block in enumerate(blocks):
        kind, deltas = PARTS.get(block["type"]), list[dict[str, Any]]()
        begun = dict(block)
        if kind == "partial_json":
            begun["input"], text = {}, json.dumps(block["input"])
        elif kind:
            begun[kind], text = "", block[kind]
        if kind:
            name = {"partial_json": "input_json"}.get(kind, kind)
            deltas = [{"type": f"{name}_delta", kind: piece} for piece in (text[:5], text[5:])]
        if "signature" in begun:
            begun["signature"] = ""
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        events.append({"type": "content_block_start", "index": index, "content_block": begun})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    return events


def as_vendor(events: list[dict[str, Any]], stop: str) -> Events:
    whole = anthropic_events([], 20, 30, stop=stop)
    return [whole[0], *((event["type"], event) for event in events), *whole[-2:]]


async def test_blocks_come_back_as_the_vendor_sent_them_and_go_to_it_again_as_they_came(
    redis_url: str, temporal_address: str, tmp_path: Path
) -> None:
    vendor = CachingApi(as_vendor(streamed(THOUGHT), "tool_use"))
    sent = json.loads(RECORDED[CLAUDE[0]]) | {"model": "scripted-own-anthropic/large"}
    async with pair("anthropic", vendor.answer, tmp_path, redis_url, temporal_address, SEARCHES) as (http, api):
        whole = (await http.post("/v1/messages", json=sent | {"stream": False}, headers=BETAS)).json()
        lines = (await http.post("/v1/messages", json=sent | {"stream": True}, headers=BETAS)).text.splitlines()
        events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
        result = {"type": "tool_result", "tool_use_id": "toolu_01", "content": "ok"}
        more = [{"role": "assistant", "content": whole["content"]}, {"role": "user", "content": [result]}]
        again = await http.post("/v1/messages", json=sent | {"messages": sent["messages"] + more, "stream": False})
        assert again.status_code == 200, again.text
        assert api.asked[-1][1]["messages"] == sent["messages"] + more
    assert whole["content"] == THOUGHT
    assert (whole["stop_reason"], whole["usage"]["output_tokens"]) == ("tool_use", 30)
    assert [event for event in events if event["type"].startswith("content_block")] == streamed(THOUGHT)
    assert [event["type"] for event in (events[0], *events[-2:])] == ["message_start", "message_delta", "message_stop"]
    assert events[-2]["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}


async def test_what_an_api_of_openais_protocol_says_beside_the_text_comes_back(
    redis_url: str, temporal_address: str, tmp_path: Path
) -> None:
    deltas = [{"reasoning_content": "Hm, "}, {"reasoning_content": "yes."}, *openai_call(0, "w", ["{", "}"])]

    def answer(path: str, body: dict[str, Any]) -> Answer:
        if path.endswith("/models"):
            return Answer({"object": "list", "data": [{"id": "m", "object": "model"}]})
        return Answer(events=openai_chunks(["I ", "write."], openai_usage(20, 9), finish="tool_calls", deltas=deltas))

    tool = {"type": "function", "function": {"name": "w", "parameters": {"type": "object", "properties": {}}}}
    sent = {"model": "scripted-own-openai/large", "messages": [{"role": "user", "content": "Go"}], "tools": [tool]}
    async with pair("openai", answer, tmp_path, redis_url, temporal_address) as (http, _):
        whole = (await http.post("/v1/chat/completions", json=sent)).json()
        lines = (await http.post("/v1/chat/completions", json=sent | {"stream": True})).text.splitlines()
    message = whole["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("I write.", "Hm, yes.")
    assert message["tool_calls"] == [{"id": "call_0", "type": "function", "function": {"name": "w", "arguments": "{}"}}]
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    said = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    assert "".join(delta.get("reasoning_content", "") for delta in said) == "Hm, yes."
    assert [call["id"] for delta in said for call in delta.get("tool_calls", []) if "id" in call] == ["call_0"]


SEARCH = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "a"}}
REASONED: list[dict[str, Any]] = [
    {"type": "reasoning", "id": "rs_0", "summary": [], "encrypted_content": "c2VjcmV0"},
    SEARCH,
    responses_text("Now I write it.", 2),
    responses_call(3, "exec_command", '{"cmd": "ls"}'),
]


def as_responses(path: str, body: dict[str, Any]) -> Answer:
    if path.endswith("/models"):
        return Answer({"object": "list", "data": [{"id": "m", "object": "model"}]})
    items = REASONED if "tools" in body else REASONED[:3]
    return Answer(events=responses_events(items, responses_usage(4000, 30, cached=3000, reasoning=12)))


async def test_what_codex_sends_reaches_a_responses_endpoint_as_it_is_and_its_items_come_back_so(
    redis_url: str, temporal_address: str, tmp_path: Path
) -> None:
    async with pair("responses", as_responses, tmp_path, redis_url, temporal_address, SEARCHES) as (http, api):
        for name in CODEX:
            sent = json.loads(RECORDED[name]) | {"model": "scripted-own-responses/large"}
            lines = (await http.post("/v1/responses", json=sent)).text.splitlines()
            events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
            reply = await http.post("/v1/responses", json=sent | {"stream": False})
            assert reply.status_code == 200, reply.text
            assert "x-tandem-dropped" not in reply.headers
            for path, got in api.asked[-2:]:
                assert (path, got["model"], got["stream"]) == ("/v1/responses", "m", True)
                assert without(got) == without(sent)
        output, usage = reply.json()["output"], reply.json()["usage"]
        result = {"type": "function_call_output", "call_id": output[-1]["call_id"], "output": "ok"}
        again = sent | {"input": [*sent["input"], *output, result], "stream": False}
        assert (await http.post("/v1/responses", json=again)).status_code == 200
        assert without(api.asked[-1][1]) == without(again)
        small = await http.post("/v1/responses", json=again | {"model": "scripted-own-responses/slm"})
    assert output == events[-1]["response"]["output"] == REASONED
    assert (usage["input_tokens"], usage["input_tokens_details"]["cached_tokens"]) == (4000, 3000)
    assert usage["output_tokens"] == 30
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    items = [{**event, "sequence_number": 0} for event in events if "output_index" in event]
    made = [{**event, "sequence_number": 0} for _, event in as_responses("", sent).events if "output_index" in event]
    assert items == made
    assert (small.status_code, small.json()["error"]["param"]) == (400, "input[type=web_search_call]")


async def test_another_protocol_is_told_a_responses_endpoint_in_its_words(
    redis_url: str, temporal_address: str, tmp_path: Path
) -> None:
    async with pair("responses", as_responses, tmp_path, redis_url, temporal_address) as (http, api):
        sent = PLAIN | {"model": "scripted-own-responses/large", "max_tokens": 30}
        reply = await http.post("/v1/messages", json=sent | {"output_config": {"effort": "high"}})
    assert reply.json()["content"][0]["text"] == "Now I write it."
    got = api.asked[0][1]
    assert (got["input"][-1], got["reasoning"], got["max_output_tokens"]) == (
        {"role": "user", "content": "Hi"},
        {"effort": "high"},
        30,
    )


VENDORS_TOOLS = {
    "openai": {"web_search_options": {}},
    "responses": {"tools": [{"type": "web_search"}, {"type": "image_generation"}]},
    "anthropic": {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
}
NOT_OURS = {
    "models": ["dearest"],
    "provider": {"order": ["x"]},
    "plugins": [{"id": "web"}],
    "api_base": "http://169.254.169.254",
    "mock_response": "free",
    "n_predict": -1,
    "kv_transfer_params": {"do_remote_prefill": True},
    "lora": [{"id": 0, "scale": 9}],
    "chat_template": "{{ x }}",
    "priority": -9,
    "store": True,
    "service_tier": "priority",
}


def answers(protocol: str) -> Callable[[str, dict[str, Any]], Answer]:
    def answer(path: str, body: dict[str, Any]) -> Answer:
        if path.endswith("/models"):
            return Answer({"object": "list", "data": [{"id": "m", "object": "model"}]})
        if protocol == "openai":
            return Answer(events=openai_chunks(["Hi."], openai_usage(20, 2)))
        if protocol == "anthropic":
            return Answer(events=anthropic_events(["Hi."], 20, 2))
        return Answer(events=responses_events([SEARCH, responses_text("Hi.", 1)], responses_usage(20, 2)))

    return answer


def asking(protocol: str, content: Any) -> tuple[str, dict[str, Any]]:
    body: dict[str, Any] = {"model": f"scripted-own-{protocol}"}
    turn = {"role": "user", "content": content}
    if protocol == "responses":
        return "/v1/responses", body | {"input": [turn]}
    path = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}[protocol]
    return path, body | {"messages": [turn], "max_tokens": 30}


@pytest.mark.parametrize("protocol", KINDS)
async def test_a_caller_tells_the_vendor_nothing_that_changes_payer_model_or_place_or_runs_something(
    protocol: str, redis_url: str, temporal_address: str, tmp_path: Path
) -> None:
    async with pair(protocol, answers(protocol), tmp_path, redis_url, temporal_address) as (http, api):
        path, plain = asking(protocol, "Hi")
        reply = await http.post(path, json={**plain, **NOT_OURS, **VENDORS_TOOLS[protocol]})
        assert reply.status_code == 200, reply.text
        got = api.asked[-1][1]
        grammar = await http.post(path, json={**plain, "grammar": 'root ::= "a"{1,999999999}'})
        outside = [await http.post(path, json=asking(protocol, image(protocol, url))[1]) for url in INSIDE]
        shown = await http.post(path, json=asking(protocol, image(protocol, "data:image/png;base64,AAAA"))[1])
    own = {"model", "stream", "stream_options", "max_tokens", "max_output_tokens", "messages", "input"}
    assert {name for name in got if got[name]} <= own
    named = set(reply.headers["x-tandem-dropped"].split(", "))
    assert NOT_OURS.keys() <= named
    assert any("web_search" in name for name in named)
    assert all("grammar" not in body for _, body in api.asked)
    assert grammar.status_code in (200, 400)
    assert [each.status_code for each in outside] == [400] * len(INSIDE)
    assert shown.status_code == 200, shown.text


INSIDE = ["http://169.254.169.254/latest", "https://127.0.0.1/a.png", "file:///etc/passwd", "https://localhost/a.png"]


def image(protocol: str, url: str) -> list[dict[str, Any]]:
    data = url.removeprefix("data:image/png;base64,")
    source = {"type": "url", "url": url} if data == url else {
        "type": "base64", "media_type": "image/png", "data": data}  # fmt: skip
    part = {
        "openai": {"type": "image_url", "image_url": {"url": url}},
        "responses": {"type": "input_image", "image_url": url},
        "anthropic": {"type": "image", "source": source},
    }[protocol]
    return [part]


async def test_a_tool_that_the_operator_allows_is_passed_on_and_its_fee_is_on_the_bill(
    redis_url: str, temporal_address: str, tmp_path: Path
) -> None:
    async with pair("responses", answers("responses"), tmp_path, redis_url, temporal_address, SEARCHES) as (http, api):
        path, plain = asking("responses", "Hi")
        free = (await http.post(path, json=plain)).json()["tandem"]["cost"]
        reply = (await http.post(path, json={**plain, **VENDORS_TOOLS["responses"]})).json()["tandem"]
    assert api.asked[-1][1]["tools"] == [{"type": "web_search"}]
    assert reply["usage"]["llm"]["tool_uses"] == {"web_search": 1}
    assert reply["cost"]["usd"] - free["usd"] == pytest.approx(0.01)  # it is nobody's tool in the first request
    assert reply["cost"]["usd_llm_alone"] - free["usd_llm_alone"] == pytest.approx(0.01)


LIE = 2_000_000
USAGES: dict[str, Callable[[], Events]] = {
    "openai": lambda: openai_chunks(["Yes."], openai_usage(LIE, LIE, cached=LIE // 2)),
    "anthropic": lambda: anthropic_events(["Yes."], 5, LIE, cached=LIE, written=LIE, hour=LIE),
    "responses": lambda: responses_events([responses_text("Yes.")], responses_usage(LIE, LIE), pieces=1),
}
PATHS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages", "responses": "/v1/responses"}


@pytest.mark.parametrize("protocol", USAGES)
async def test_what_an_endpoint_claims_is_billed_by_what_was_sent_marked_and_never_beyond_the_budget(
    protocol: str, redis_url: str, temporal_address: str, tmp_path: Path
) -> None:
    """Passed on, where the endpoint's protocol is the caller's, and not, where it is another one."""

    def answer(path: str, body: dict[str, Any]) -> Answer:
        if "/models" in path:
            return Answer({"id": "m", "type": "model", "data": [{"id": "m", "object": "model"}]})
        return Answer(events=USAGES[protocol]())

    async with pair(protocol, answer, tmp_path, redis_url, temporal_address) as (http, _):
        for path in PATHS.values():
            said = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}
            sent = {"input": "hi", "max_output_tokens": 9} if path == PATHS["responses"] else said
            for budget in (None, 0.002):
                given = sent | {"model": f"scripted-own-{protocol}/large", "tandem": {"max_cost_usd": budget}}
                reply = await http.post(path, json=given, timeout=60)
                assert reply.status_code == 200, reply.text
                bill = float(reply.headers["x-tandem-cost-usd"])
                assert 0 < bill <= (budget or 0.003), path
                assert "an estimate" in json.dumps(reply.json()), path


async def test_images_that_an_endpoint_fails_at_pause_the_tenant_that_sends_them_and_no_other(
    redis_url: str, temporal_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(circuit, "_FIRST_PAUSE", 100.0)  # no request waits for so long
    images = 0

    def answer(path: str, body: dict[str, Any]) -> Answer:  # as llama.cpp does that has no projector
        nonlocal images
        if path.endswith("/models"):
            return Answer({"object": "list", "data": [{"id": "m", "object": "model"}]})
        if "image_url" not in json.dumps(body):
            return Answer(events=openai_chunks(["Hello."], openai_usage(20, 2)))
        images += 1
        return Answer({"error": {"code": 500, "message": "image input is not supported"}}, status=500)

    keys = KeyFile(tmp_path / "keys.json")
    noisy, quiet = ({"authorization": f"Bearer {keys.create(name)[1]}"} for name in ("noisy", "quiet"))
    seen = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    image = PLAIN | {"messages": [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, seen]}]}
    keyed = Authentication(ApiKeys(keys.path))
    async with pair("openai", answer, tmp_path, redis_url, temporal_address, authentication=keyed) as (http, _):
        for _ in range(6):
            await http.post("/v1/chat/completions", json=image, headers=noisy)
        reply = await http.post("/v1/chat/completions", json=PLAIN, headers=quiet)
    assert images == 5
    assert (reply.status_code, reply.json()["choices"][0]["message"]["content"]) == (200, "Hello.")
