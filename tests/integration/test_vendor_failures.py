"""What a caller gets where the large model's API fails: the vendor's class of error and its words, in the caller's own
protocol, and no other model's answer unless the profile says so.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.models.engine.remote.anthropic_writer import AnthropicWriter
from services.models.engine.remote.api_writer import ApiSettings, ApiWriter
from services.models.engine.remote.openai_writer import OpenAIWriter
from services.models.engine.remote.responses_writer import ResponsesWriter
from tandem.method.profile.endpoint import Capabilities
from tests.integration.conftest import System, run_system
from tests.integration.edge import serving
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
KINDS: dict[str, type[ApiWriter]] = {
    "anthropic": AnthropicWriter,
    "openai": OpenAIWriter,
    "responses": ResponsesWriter,
}
KEY = "sk-operators-own-0123456789"
SCHEMA = {"type": "object", "properties": {}}
SAID = [{"role": "user", "content": "Hi"}]
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
        text = text.replace("[slm]\n", large, 1).replace("[execution]\n", f"[execution]\n{more}\n", 1)
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


async def asked(vendor: Vendor, protocol: str, *, stream: bool = False, tools: bool = False, model: str = "") -> Got:
    """By a caller who speaks `protocol`."""
    body: dict[str, Any] = {"model": model or f"scripted-fails-{vendor.protocol}", "stream": stream}
    body |= {"input": "Hi"} if protocol == "responses" else {"messages": SAID}
    body |= {"max_tokens": 30} if protocol == "anthropic" else {}
    function = {"name": "w", "description": "Write.", "parameters": SCHEMA}
    shapes: dict[str, dict[str, Any]] = {
        "anthropic": {"name": "w", "description": "Write.", "input_schema": SCHEMA},
        "openai": {"type": "function", "function": function},
        "responses": {"type": "function", **function},
    }
    body |= {"tools": [shapes[protocol]]} if tools else {}
    began = time.monotonic()
    reply = await vendor.http.post(PATHS[protocol], json=body)
    events = [json.loads(line[6:]) for line in reply.text.splitlines() if line.startswith("data: {")]
    last = events[-1] if events else reply.json()
    error = last.get("error") or last.get("response", {}).get("error") or {}
    kind = error.get("type") or error.get("code") or ""
    return Got(reply.status_code, kind, error.get("message", ""), reply.headers, time.monotonic() - began, reply.text)
