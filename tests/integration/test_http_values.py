"""Values at the ends of what a field holds, and bytes that are no text in headers, paths and queries."""

from __future__ import annotations

import httpx
import pytest

from tests.integration.edge import body

pytestmark = pytest.mark.asyncio(loop_scope="session")
CHAT, PAGE = "/v1/chat/completions", "/api/requests"
SCRIPT = "[scores=0:0.9 slm_eos=3]"


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
