"""Paths and methods that the HTTP gateway does not have say so; a model that does not exist is another error."""

from __future__ import annotations

from typing import Any, cast

import httpx
import openai
import pytest
from prometheus_client import generate_latest

from services.http_gateway.service import make_app

pytestmark = pytest.mark.asyncio(loop_scope="session")
UNKNOWN = [
    "POST /v1/completions",
    "POST /v1/embeddings",
    "GET /v1/nothing",
    "POST /v1/images/generations",
    "GET /v1",
    "GET /v1/fine_tuning/jobs",
    "POST /chat/completions",
    "GET /v1/responses/resp_1",
    "GET /api/nothing",
    "GET /assets/nothing.js",
    "GET /docs/assets/nothing.css",
    "POST /v1/audio/speech",
    "DELETE /v2/models",
    "GET /v1/files/a/b/c/d",
    "PROPFIND /nothing",
    "GET /v1/%00",
]
WRONG = {
    "GET /v1/chat/completions": {"POST"},
    "DELETE /v1/responses": {"POST"},
    "POST /v1/models": {"GET"},
    "PUT /v1/files": {"GET", "POST"},
    "PATCH /v1/files/file-1": {"GET", "DELETE"},
    "PUT /v1/batches/batch_1/cancel": {"GET", "POST"},  # as a batch of tenant `batch_1`, too
    "POST /": {"GET"},
    "POST /healthz": {"GET"},
}


def error_of(reply: httpx.Response) -> dict[str, Any]:
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["param"]) == ("invalid_request_error", None)
    return dict(error)


@pytest.mark.parametrize("asked", UNKNOWN)
async def test_an_unknown_path_is_named_with_its_method(http: httpx.AsyncClient, asked: str) -> None:
    method, _, path = asked.partition(" ")
    reply = await http.request(method, path)
    error = error_of(reply)
    assert (reply.status_code, error["code"]) == (404, "unknown_url")
    assert f"{method} {path}" in error["message"]


@pytest.mark.parametrize("asked", WRONG)
async def test_a_wrong_method_is_named_with_those_that_are_right(http: httpx.AsyncClient, asked: str) -> None:
    method, _, path = asked.partition(" ")
    reply = await http.request(method, path)
    error = error_of(reply)
    assert (reply.status_code, error["code"]) == (405, "method_not_supported")
    assert method in error["message"]
    assert path in error["message"]
    assert set(reply.headers["allow"].split(", ")) == WRONG[asked]


async def test_a_path_of_any_length_is_shortened(http: httpx.AsyncClient) -> None:
    reply = await http.get("/" + "x" * 20_000)
    assert (reply.status_code, len(error_of(reply)["message"]) < 500) == (404, True)


@pytest.mark.parametrize("name", ["nobody", "nobody@0.5", "openai/gpt", "a%2Fb", "%00"])
async def test_a_model_that_does_not_exist_is_no_unknown_path(http: httpx.AsyncClient, name: str) -> None:
    reply = await http.get(f"/v1/models/{name}")
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")


async def test_openais_client_sees_both_as_not_found(http: httpx.AsyncClient) -> None:
    async with openai.AsyncOpenAI(base_url=f"{http.base_url}/v1", api_key="none", max_retries=0) as client:
        with pytest.raises(openai.NotFoundError, match="POST /v1/embeddings"):
            await client.embeddings.create(model="scripted", input="x")
        with pytest.raises(openai.NotFoundError, match="nobody"):
            await client.models.retrieve("nobody")


async def test_what_nobody_expected_is_said_in_openais_shape_and_counted() -> None:
    app = make_app(cast(Any, object()), cast(Any, None))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        reply = await http.get("/v1/models")
        assert (reply.status_code, reply.json()["error"]["type"]) == (500, "api_error")
        assert "object" not in reply.json()["error"]["message"]
        assert 'tandem_http_requests_total{route="/v1/models",status="500"}' in generate_latest().decode()
