"""What a caller gets where the large model's API fails: the vendor's class of error and its words, in the caller's own
protocol, and no other model's answer unless the profile says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.models.engine.remote.api_writer import ApiSettings, ApiWriter
from tandem.local.ports import free_port
from tandem.method.profile.endpoint import Capabilities
from tandem.v1 import tandem_pb2
from tests.command import tandem
from tests.integration.conftest import System, run_system
from tests.integration.edge import serving
from tests.integration.test_own_body import KINDS
from tests.recorded_api import (
    Answer,
    RecordedApi,
    anthropic_events,
    openai_chunks,
    openai_usage,
    recorded_api,
    responses_events,
    responses_text,
    responses_usage,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")
KEY = "sk-operators-own-0123456789"
SCHEMA = {"type": "object", "properties": {}}
FINE = {
    "anthropic": Answer(events=anthropic_events(["Done."], 20, 3)),
    "openai": Answer(events=openai_chunks(["Done."], openai_usage(20, 3))),
    "responses": Answer(events=responses_events([responses_text("Done.")], responses_usage(20, 3))),
}
MODEL = {"id": "m", "type": "model", "object": "model", "display_name": "M", "created_at": "2026-01-01T00:00:00Z"}
RESET = Answer(raw=lambda: iter([]), resets=True)


def refused(status: int, message: str, headers: dict[str, str] | None = None, code: str | None = None) -> Answer:
    """An error as both vendors shape it."""
    error = {"message": message, "type": "some_error", "code": code, "param": None}
    return Answer({"type": "error", "error": error}, status=status, headers=headers or {})


@dataclass
class Vendor:
    """`next` are the large model's next replies; with none left each is fine."""

    protocol: str
    http: httpx.AsyncClient
    system: System
    engine: ApiWriter
    next: list[Answer] = field(default_factory=list)
    asked: int = 0

    def answer(self, path: str, body: dict[str, Any]) -> Answer:
        if "/models" in path:
            return Answer({**MODEL, "object": "list", "data": [MODEL]} if self.protocol != "anthropic" else MODEL)
        self.asked += 1
        return self.next.pop(0) if self.next else FINE[self.protocol]

    @property
    def small_wrote(self) -> int:
        return self.system.slm.counters.output_tokens

    def fails(self, *answers: Answer) -> None:
        """From a state in which no failure is counted."""
        self.next, self.asked = list(answers), 0
        self.engine._circuit = type(self.engine._circuit)()


@contextlib.asynccontextmanager
async def vendor_of(
    protocol: str, folder: Path, redis_url: str, temporal: str, more: str = ""
) -> AsyncIterator[Vendor]:
    """The scripted pair, whose large model is behind an API of `protocol`. `more`: of the profile's [execution]."""
    vendor = Vendor(protocol, *[None] * 3)  # type: ignore[list-item]
    alias = f"fails-{protocol}{'-more' if more else ''}"
    with recorded_api(lambda path, body: vendor.answer(path, body)) as api:
        url = _url(protocol, api)
        text = (Path(__file__).parents[1] / "profiles" / "scripted" / "profile.toml").read_text()
        large = f'[llm.api]\nprotocol = "{protocol}"\nurl = "{url}"\nmodel = "m"\n\n[slm]\n'
        text = text.replace("[slm]\n", large, 1).replace('when_unavailable = "small"', more, 1)
        (folder / alias / "scripted").mkdir(parents=True)
        (folder / alias / "scripted" / "profile.toml").write_text(text)
        can = Capabilities(tools=True, json_schema=True)
        vendor.engine = KINDS[protocol](ApiSettings("scripted-llm", url, KEY, model="m", can=can))
        vendor.engine.start()
        running = run_system("scripted", folder / alias, redis_url, temporal, alias=alias, endpoint=vendor.engine)
        async with running as vendor.system, serving(vendor.system.client.address) as vendor.http:
            yield vendor
        vendor.engine.stop()


def _url(protocol: str, api: RecordedApi) -> str:
    return api.url if protocol == "anthropic" else f"{api.url}/v1"


@dataclass(frozen=True)
class Got:
    """What a client of the protocol sees. A reply that had begun has the status 200 and an error as its last event."""

    status: int
    kind: str
    message: str
    headers: httpx.Headers
    seconds: float
    text: str


PATHS = {"openai": "/v1/chat/completions", "responses": "/v1/responses", "anthropic": "/v1/messages"}


async def asked(
    vendor: Vendor,
    protocol: str,
    question: str = "Hi",
    *,
    stream: bool = False,
    tools: bool = False,
    model: str = "",
    on_line: Callable[[str], None] = lambda _: None,
) -> Got:
    """By a caller who speaks `protocol`. `model`: the pair's, where it is none of its members by name. `on_line`: is
    given each line of the reply as it is read.
    """
    body: dict[str, Any] = {"model": f"{vendor.system.service._admission.default}{model}", "stream": stream}
    said = {"messages": [{"role": "user", "content": question}]}
    body |= {"input": question} if protocol == "responses" else said
    body |= {"max_tokens": 30} if protocol == "anthropic" else {}
    function = {"name": "w", "description": "Write.", "parameters": SCHEMA}
    shapes: dict[str, dict[str, Any]] = {
        "anthropic": {"name": "w", "description": "Write.", "input_schema": SCHEMA},
        "openai": {"type": "function", "function": function},
        "responses": {"type": "function", **function},
    }
    body |= {"tools": [shapes[protocol]]} if tools else {}
    began = time.monotonic()
    lines: list[str] = []
    async with vendor.http.stream("POST", PATHS[protocol], json=body) as reply:
        async for line in reply.aiter_lines():
            lines.append(line)
            on_line(line)
    text = "\n".join(lines)
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    last = events[-1] if events else json.loads(text)
    error = last.get("error") or last.get("response", {}).get("error") or {}
    kind = error.get("type") or error.get("code") or ""
    return Got(reply.status_code, kind, error.get("message", ""), reply.headers, time.monotonic() - began, text)


@dataclass(frozen=True)
class Case:
    """`kinds`: the error's in OpenAI's protocols, then in Anthropic's. `attempts`: how often the vendor is asked."""

    answer: Answer
    status: int
    kinds: tuple[str, str]
    words: str
    attempts: int = 1
    retry_after: bool = False
    openai_status: int = 0


INVALID = "invalid_request_error"
PROMPT = "prompt is too long: 210000 tokens > 200000 maximum"
ECHOED = f"Incorrect API key provided: {KEY}. See 127.0.0.1 for help"
CASES = {
    "401": Case(refused(401, ECHOED), 401, ("authentication_error",) * 2, "refuses the operator's key: 401: Incorrect"),
    "404": Case(refused(404, "no model m"), 404, (INVALID, "not_found_error"), "no model m"),
    "400": Case(refused(400, PROMPT), 400, (INVALID,) * 2, PROMPT),
    "413": Case(refused(413, "too many bytes"), 413, (INVALID, "request_too_large"), "too many bytes"),
    "429 soon": Case(
        refused(429, "slow", {"retry-after-ms": "50"}), 429, ("rate_limit_error",) * 2, "slow", 2, retry_after=True
    ),
    "429 later": Case(
        refused(429, "slow", {"retry-after": "30"}), 429, ("rate_limit_error",) * 2, "slow", retry_after=True
    ),
    "429 spent": Case(
        refused(429, "no quota", code="insufficient_quota"), 429, ("rate_limit_error",) * 2, "no means left"
    ),
    "500": Case(refused(500, "it broke"), 500, ("api_error",) * 2, "it broke", 2),
    "529": Case(refused(529, "Overloaded"), 529, ("api_error", "overloaded_error"), "Overloaded", 2, openai_status=503),
    "reset": Case(RESET, 503, ("api_error", "overloaded_error"), "the API does not answer", 4),
}


JOURNEYS = {
    "anthropic": ("529", "401", "400", "429 later"),
    "openai": ("401", "500", "429 spent", "reset"),
    "responses": ("404", "429 soon", "413", "529"),
}
"""Of each protocol: whole, streamed, with tools, both. Every status in every protocol: tests/unit/test_errors.py."""


@pytest.mark.parametrize("protocol", JOURNEYS)
async def test_a_caller_gets_the_vendors_class_of_error_and_its_words_in_its_own_protocol(
    redis_url: str, temporal_address: str, tmp_path: Path, protocol: str
) -> None:
    """Streamed or whole, with tools or without, and no other model's answer."""
    async with vendor_of(protocol, tmp_path, redis_url, temporal_address) as vendor:
        url = httpx.URL(vendor.engine._settings.base_url or "").netloc.decode()
        for name, (tools, stream) in zip(JOURNEYS[protocol], product((False, True), repeat=2), strict=True):
            case = CASES[name]
            vendor.fails(*[case.answer] * 9)
            before = vendor.small_wrote
            got = await asked(vendor, protocol, stream=stream, tools=tools)
            is_anthropics = protocol == "anthropic"
            expected = case.status if is_anthropics else case.openai_status or case.status
            assert (got.status, got.kind) == (expected, case.kinds[is_anthropics]), name
            assert "no answer: the large model 'scripted-llm' failed: " in got.message, name
            assert case.words in got.message, name
            assert KEY not in got.text, name
            assert url not in got.text, name
            assert vendor.asked == case.attempts, name
            assert ("retry-after" in got.headers) == case.retry_after, name
            if not tools:  # where tools may be called a small model is asked before
                assert vendor.small_wrote == before, name
        vendor.fails()
        assert (await asked(vendor, protocol)).status == 200


async def test_a_caller_of_another_protocol_gets_the_class_in_that_one(
    redis_url: str, temporal_address: str, tmp_path: Path
) -> None:
    async with vendor_of("openai", tmp_path, redis_url, temporal_address) as vendor:
        case = CASES["429 later"]
        vendor.fails(case.answer)
        got = await asked(vendor, "anthropic", stream=True)
        assert (got.status, got.kind, case.words in got.message) == (case.status, case.kinds[1], True)


async def test_a_named_large_model_and_an_endpoint_that_is_gone_fail_so_too(
    redis_url: str, temporal_address: str, tmp_path: Path
) -> None:
    async with vendor_of("openai", tmp_path, redis_url, temporal_address) as vendor:
        vendor.fails(CASES["401"].answer)
        got = await asked(vendor, "openai", model="/large")
        assert (got.status, vendor.asked) == (401, 1)
        client = vendor.engine._api.client  # type: ignore[attr-defined]  # of OpenAI's dialect
        client.base_url = f"http://127.0.0.1:{free_port()}/v1/"
        got = await asked(vendor, "openai")
        assert (got.status, got.kind) == (503, "api_error")
        assert "the API does not answer" in got.message
        assert got.seconds < 30


async def test_a_stream_that_had_begun_ends_with_the_error_in_the_callers_protocol(
    redis_url: str, temporal_address: str, tmp_path: Path
) -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    is_read = threading.Event()  # what came before the error

    def broken() -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        for name, data in anthropic_events(["It ", "is "], 20, 2)[:5]:
            yield f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()
        is_read.wait(60)
        yield f"event: error\ndata: {json.dumps(error)}\n\n".encode()

    async with vendor_of("anthropic", tmp_path, redis_url, temporal_address) as vendor:
        for protocol, kind in (("anthropic", "overloaded_error"), ("openai", "api_error")):
            is_read.clear()
            vendor.fails(*[Answer(raw=broken)] * 9)
            got = await asked(vendor, protocol, stream=True, model="/large", on_line=lambda _: is_read.set())
            assert (got.status, got.kind) == (200, kind), got.text
            assert '"It' in got.text  # a passed-on text cannot be taken back, so that no second attempt is shown
            assert protocol == "anthropic" or "the API fails: Overloaded" in got.message


async def test_where_the_profile_lets_a_small_model_answer_header_notes_bill_and_exit_code_say_so(
    redis_url: str, temporal_address: str, tmp_path: Path
) -> None:
    more = 'when_unavailable = "small"'
    async with vendor_of("openai", tmp_path, redis_url, temporal_address, more) as vendor:
        vendor.fails(CASES["401"].answer)
        got = await asked(vendor, "openai", tools=True)
        body = json.loads(got.text)
        assert (got.status, got.headers["x-tandem-answered-by-small"]) == (200, "llm_unavailable")
        assert "x-tandem-saved-ratio" not in got.headers
        assert body["tandem"]["notes"][0].startswith("the large model failed: ")
        assert "the API refuses the operator's key" in body["tandem"]["notes"][0]
        assert body["tandem"]["cost"]["saved_ratio"] is None
        vendor.fails(CASES["401"].answer)
        done = await asyncio.to_thread(tandem, "ask", "Hi", TANDEM_ADDRESS=vendor.system.client.address)
        assert (done.returncode, done.stdout.strip() != "") == (1, True)
        assert "because the large model failed" in done.stderr
        vendor.fails(CASES["429 later"].answer)
        both = await asked(vendor, "openai", "[fail=slm]")
        assert (both.status, "the large model 'scripted-llm' failed" in both.message) == (429, True)


async def test_a_command_fails_where_its_large_model_did(redis_url: str, temporal_address: str, tmp_path: Path) -> None:
    async with vendor_of("openai", tmp_path, redis_url, temporal_address) as vendor:
        vendor.fails(CASES["401"].answer)
        done = await asyncio.to_thread(tandem, "ask", "Hi", TANDEM_ADDRESS=vendor.system.client.address)
    assert (done.returncode, done.stdout) == (1, "")
    assert "refuses the operator's key" in done.stderr


async def test_a_request_that_nobody_waits_for_waits_for_the_vendors_pause(
    redis_url: str, temporal_address: str, tmp_path: Path
) -> None:
    async with vendor_of("openai", tmp_path, redis_url, temporal_address) as vendor:
        vendor.fails(*[refused(429, "slow down", {"retry-after-ms": "2100"})])
        result = await vendor.system.client.ask("Hi", keep_running=True)
        assert (result.answered_by, vendor.asked) == (tandem_pb2.ROLE_LLM, 2)
