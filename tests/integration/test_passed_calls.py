"""A streamed reply that is passed on: the client has each event of a call before the vendor writes the next one."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_own_body import KINDS, asking, pair
from tests.recorded_api import (
    Answer,
    Events,
    anthropic_call,
    anthropic_events,
    openai_call,
    openai_chunks,
    openai_usage,
    responses_call,
    responses_events,
    responses_usage,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")
SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}}
FUNCTION = {"name": "w", "description": "Writes.", "parameters": SCHEMA}
TOOLS: dict[str, dict[str, Any]] = {
    "anthropic": {"name": "w", "description": "Writes.", "input_schema": SCHEMA},
    "openai": {"type": "function", "function": FUNCTION},
    "responses": {"type": "function", **FUNCTION},
}
PIECES = ['{"text": ', '"one ', "two ", 'three"}']
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
_PATIENCE_SECONDS = 20.0


def events_of(protocol: str) -> Events:
    """A reply that is one call, whose arguments come in pieces."""
    if protocol == "anthropic":
        return anthropic_events([], 20, 9, stop="tool_use", blocks=anthropic_call(1, "w", PIECES))
    if protocol == "openai":
        return openai_chunks([], openai_usage(20, 9), finish="tool_calls", deltas=openai_call(0, "w", PIECES))
    return responses_events([responses_call(0, "w", "".join(PIECES))], responses_usage(20, 9), pieces=len(PIECES))


def of_call(event: dict[str, Any]) -> dict[str, Any] | None:
    """What the event says of the call; None: nothing."""
    if choices := event.get("choices"):
        calls = choices[0]["delta"].get("tool_calls")
        return calls[0] if calls else None
    is_block = event.get("type", "").startswith("content_block") and event["index"] == 1
    if is_block or "output_index" in event:
        return {name: value for name, value in event.items() if name not in ("index", "sequence_number")}
    return None


class Vendor:
    """Writes the next event when the client has the last one of the call, and notes each that the client lacked."""

    def __init__(self, protocol: str) -> None:
        self._events, self._was_read = events_of(protocol), threading.Semaphore(0)
        self.missed: list[dict[str, Any]] = []

    def read(self) -> None:
        """The client has an event of the call."""
        self._was_read.release()

    def answer(self, path: str, body: dict[str, Any]) -> Answer:
        if "/models" in path:
            return Answer({"object": "list", "data": [{"id": "m", "object": "model"}], "id": "m"})
        return Answer(raw=self._written)

    def _written(self) -> Iterator[bytes]:
        yield HEAD
        for name, event in self._events:
            yield f"event: {name}\ndata: {json.dumps(event)}\n\n".encode()
            if of_call(event) and not self.missed and not self._was_read.acquire(timeout=_PATIENCE_SECONDS):
                self.missed.append(event)
        yield b"data: [DONE]\n\n"


@pytest.mark.parametrize("protocol", KINDS)
async def test_the_client_has_each_event_of_a_call_before_the_vendor_writes_the_next(
    protocol: str, redis_url: str, temporal_address: str, tmp_path: Path
) -> None:
    vendor = Vendor(protocol)
    path, body = asking(protocol, "Go")
    body |= {"tools": [TOOLS[protocol]], "stream": True}
    seen: list[dict[str, Any]] = []
    async with (
        pair(protocol, vendor.answer, tmp_path, redis_url, temporal_address) as (http, _),
        http.stream("POST", path, json=body, timeout=60) as reply,
    ):
        async for line in reply.aiter_lines():
            if line.startswith("data: {") and (said := of_call(json.loads(line[6:]))):
                seen.append(said)
                vendor.read()
    assert not vendor.missed
    assert seen == list(filter(None, (of_call(event) for _, event in events_of(protocol))))
