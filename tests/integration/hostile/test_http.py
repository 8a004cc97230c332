"""Whatever a caller sends to any route of the HTTP gateway, it is answered in time, and a refusal has OpenAI's form, or
Anthropic's.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from hypothesis import strategies as st

from tandem.openai.body import ApiBody
from tandem.openai.chat_request import ChatCompletionRequest
from tandem.openai.messages_request import CountTokensBody, MessagesRequest
from tandem.openai.responses_request import ResponsesRequest
from tests.integration.edge import body, routes
from tests.integration.hostile.bystander import TALLY
from tests.integration.hostile.claims import tried
from tests.integration.hostile.inputs import forms, headers, json_bodies, parameter_bodies, paths, queries

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(3600),
    pytest.mark.usefixtures("bystander"),
]
MODEL, QUESTION = "scripted-hostile@0.8", "[scores=0:0.9 slm_eos=3]"
ROUTES = [route for route in routes() if not route.endswith("...")]
# What each path of a body takes; the other routes have none.
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": body(QUESTION, model=MODEL),
    "/v1/responses": {"model": MODEL, "input": QUESTION},
    "/v1/messages": {"model": MODEL, "max_tokens": 64, "messages": [{"role": "user", "content": QUESTION}]},
    "/v1/messages/count_tokens": {"model": MODEL, "messages": [{"role": "user", "content": QUESTION}]},
    "/v1/tandem/outcomes": {"request_id": "r", "right": True},
    "/v1/files": {"purpose": "batch"},
    "/v1/batches": {"input_file_id": "file-x", "endpoint": "/v1/chat/completions", "completion_window": "24h"},
    "/api/requests": {"question": QUESTION},
}
READERS: dict[str, type[ApiBody]] = {
    "/v1/chat/completions": ChatCompletionRequest,
    "/v1/responses": ResponsesRequest,
    "/v1/messages": MessagesRequest,
    "/v1/messages/count_tokens": CountTokensBody,
}
KINDS = ("application/json", "text/plain", "multipart/form-data", "multipart/form-data; boundary=x", "")


@pytest.mark.parametrize("route", ROUTES)
async def test_any_path_query_and_header_is_answered(edge: httpx.Client, route: str) -> None:
    method, _, path = route.partition(" ")

    @tried(at=paths(path), query=queries(), sent=headers())
    def claim(at: str, query: str, sent: dict[str, bytes]) -> None:
        _assert_answered(edge.request(method, f"{at}?{query}", headers=sent))

    await asyncio.to_thread(claim)


@pytest.mark.parametrize("path", BODIES)
async def test_any_json_is_answered(edge: httpx.Client, path: str) -> None:
    @tried(sent=json_bodies(BODIES[path]))
    def claim(sent: str) -> None:
        _assert_answered(edge.post(path, content=sent, headers={"content-type": "application/json"}))

    await asyncio.to_thread(claim)


@pytest.mark.parametrize("path", READERS)
async def test_any_parameter_message_and_tool_of_an_api_is_answered(edge: httpx.Client, path: str) -> None:
    @tried(sent=parameter_bodies(BODIES[path], READERS[path]), betas=st.sampled_from(("", "a, b", "x" * 8000, ",")))
    def claim(sent: str, betas: str) -> None:
        kind = {"content-type": "application/json", "anthropic-beta": betas}
        _assert_answered(edge.post(path, content=sent, headers=kind))

    await asyncio.to_thread(claim)


@pytest.mark.parametrize("path", BODIES)
async def test_any_bytes_are_refused(edge: httpx.Client, path: str) -> None:
    @tried(data=st.binary(max_size=200), kind=st.sampled_from(KINDS))
    def claim(data: bytes, kind: str) -> None:
        reply = edge.post(path, content=data, headers={"content-type": kind})
        _assert_answered(reply)
        assert reply.status_code >= 400

    await asyncio.to_thread(claim)


async def test_any_form_is_answered(edge: httpx.Client) -> None:
    @tried(form=forms())
    def claim(form: dict[str, Any]) -> None:
        _assert_answered(edge.post("/v1/files", **form))

    await asyncio.to_thread(claim)


@pytest.mark.parametrize("charset", ["utf-7", "unicode_escape", "idna", "punycode", "utf-16", "nonsense", "rot13", ""])
async def test_a_form_in_another_charset_is_refused(edge: httpx.Client, charset: str) -> None:
    """Some of Python's would make half a surrogate pair of the name."""
    name = rb'Content-Disposition: form-data; name="file"; filename="+2AA-\ud800.jsonl"'
    content = b"\r\n".join([b"--x", name, b"", b"{}", b"--x--", b""])
    kind = {"content-type": f"multipart/form-data; boundary=x; charset={charset}"}
    reply = await asyncio.to_thread(edge.post, "/v1/files", content=content, headers=kind)
    _assert_answered(reply)
    assert reply.status_code == 400


async def test_every_route_that_takes_a_body_gets_hostile_ones() -> None:
    posted = {route.partition(" ")[2] for route in ROUTES if route.startswith("POST") and "{" not in route}
    assert posted == set(BODIES)


def _assert_answered(reply: httpx.Response) -> None:
    TALLY.count(reply.request.url.path, is_defect=reply.status_code >= 500)
    assert reply.status_code < 500, reply.text
    assert reply.status_code < 400 or reply.json()["error"]["message"]
