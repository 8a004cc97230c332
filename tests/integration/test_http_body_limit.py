"""A body that is too large is refused in OpenAI's shape, before all of it has come."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from tandem.client.contract import MAX_REQUEST_BYTES
from tests.integration.edge import ask, body

pytestmark = pytest.mark.asyncio(loop_scope="session")
CHUNK = b"x" * 65_536
POSTED = ("/v1/chat/completions", "/v1/responses", "/api/requests")


async def exchange(http: httpx.AsyncClient, sent: bytes) -> tuple[str, dict[str, Any]]:
    """Status line and error after `sent`, which never ends the request; the server closes the connection."""
    reader, writer = await asyncio.open_connection(http.base_url.host, http.base_url.port)
    writer.write(sent)
    try:
        reply = await asyncio.wait_for(reader.read(), 60)
    finally:
        writer.close()
    head, _, text = reply.partition(b"\r\n\r\n")
    return head.decode().splitlines()[0], json.loads(text)["error"]


def head(path: str, framing: str) -> bytes:
    return f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{framing}\r\n\r\n".encode()


@pytest.mark.parametrize("path", POSTED)
async def test_a_body_that_says_it_is_too_large_is_refused_before_it_comes(http: httpx.AsyncClient, path: str) -> None:
    status, error = await exchange(http, head(path, f"content-length: {MAX_REQUEST_BYTES + 1}"))
    assert status.startswith("HTTP/1.1 413")
    assert (error["type"], error["code"]) == ("invalid_request_error", "request_too_large")
    assert str(MAX_REQUEST_BYTES) in error["message"]


@pytest.mark.parametrize("path", POSTED)
async def test_a_chunked_body_is_refused_as_soon_as_more_came(http: httpx.AsyncClient, path: str) -> None:
    chunk = f"{len(CHUNK):x}\r\n".encode() + CHUNK + b"\r\n"
    endless = chunk * (MAX_REQUEST_BYTES // len(CHUNK) + 1)
    status, error = await exchange(http, head(path, "transfer-encoding: chunked") + endless)
    assert status.startswith("HTTP/1.1 413")
    assert error["code"] == "request_too_large"


async def test_a_body_at_the_limit_is_read(http: httpx.AsyncClient) -> None:
    small = json.dumps(body("[slm_eos=3 scores=0:0.9]")).encode()
    padded = small + b" " * (MAX_REQUEST_BYTES - len(small))
    headers = {"content-type": "application/json"}
    for content, status in ((padded, 200), (padded + b" ", 413)):
        reply = await http.post("/v1/chat/completions", content=content, headers=headers)
        assert reply.status_code == status, reply.text[:300]
    assert (await ask(http, "[slm_eos=3 scores=0:0.9]")).status_code == 200
