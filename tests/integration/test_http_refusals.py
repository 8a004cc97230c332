"""What the HTTP gateway refuses, how it says so, and what it takes because it asks for nothing."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.integration.edge import ask, body

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize(
    ("more", "param", "status"),
    [
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools", 400),
        (
            {
                "model": "scripted",  # no call has a threshold
                "tools": [{"type": "function", "function": {"name": "a", "parameters": {"not": {}}, "strict": True}}],
            },
            "tools",
            400,
        ),
        ({"n": 2}, "n", 400),  # the reader's; tests/unit/test_http_bodies.py has the others
        ({"stop": ["x"] * 5}, "stop", 400),
        ({"stop": "x" * 65}, "stop", 400),
        ({"stop": [""]}, "stop", 400),
        ({"model": "nobody"}, "model", 404),
        ({"model": "scripted@1.5"}, "tandem.threshold", 400),
        ({"model": "scripted/large", "tandem": {"threshold": 0.6}}, "tandem.threshold", 400),
        ({"temperature": 3}, "temperature", 400),  # the body's model's
        ({"tandem": {"tenant": "u" * 65}}, "tandem.tenant", 400),
        ({"tandem": {"checks": ["nonsense"]}}, "tandem.checks", 400),
        ({"tandem": {"max_cost_usd": 1e-9}}, "tandem.max_cost_usd", 400),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"not": {}}}}},
            "response_format",
            400,
        ),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "call_1"}]}, "messages", 400),
        ({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}, "messages", 400),
        ({"messages": [{"role": "user", "content": "x" * 601}]}, "messages", 400),
    ],
)
async def test_what_cannot_be_honoured_is_refused_by_name(
    http: httpx.AsyncClient, more: dict[str, Any], param: str, status: int
) -> None:
    for is_stream in (False, True):
        reply = await ask(http, "[slm_eos=3 scores=0:0.9]", stream=is_stream, **more)
        error = reply.json()["error"]
        assert (reply.status_code, error["param"]) == (status, param), error
        assert error["message"]
        assert error["code"]
        assert error["type"] == "invalid_request_error"


async def test_a_hint_is_dropped_and_named_in_a_header_the_notes_and_once_in_the_log(
    http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "services.http_gateway.service")
    for _ in range(2):
        reply = await ask(http, "[scores=0:0.9 slm_eos=3]", verbosity="low", nonsense=1)
        assert reply.headers["x-tandem-dropped"] == "verbosity, nonsense"
        assert "not followed: verbosity, nonsense" in reply.json()["tandem"]["notes"]
    assert len([record for record in caplog.records if "nonsense" in record.getMessage()]) == 1


async def test_an_image_is_refused_by_its_place(http: httpx.AsyncClient) -> None:
    parts = [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "data:"}}]
    reply = await http.post("/v1/chat/completions", json=body("x", messages=[{"role": "user", "content": parts}]))
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == "messages[].content[type=image_url]"


async def test_what_is_not_there_and_what_is_no_json_is_said_in_openais_shape(http: httpx.AsyncClient) -> None:
    assert (await http.get("/v1/nothing")).json()["error"]["type"] == "invalid_request_error"
    broken = await http.post("/v1/chat/completions", content="{", headers={"content-type": "application/json"})
    assert (broken.status_code, broken.json()["error"]["type"]) == (400, "invalid_request_error")
