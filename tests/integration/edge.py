"""An HTTP gateway for tests, and how they ask it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, cast

import fastapi.routing
import httpx

from services.http_gateway.__main__ import HttpGateway, HttpGatewaySettings
from services.http_gateway.service import make_app
from tandem.client.clients import AsyncClient
from tandem.local.ports import free_port

Chunks = list[dict[str, Any]]


@contextlib.asynccontextmanager
async def serving(gateway: str, port: int = 0, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP gateway before `gateway`, and a client of it. `port` 0: a free one. `settings`: see
    HttpGatewaySettings.
    """
    stop, port = asyncio.Event(), port or free_port()
    async with AsyncClient(gateway) as client:
        edge = HttpGateway(HttpGatewaySettings(port=port, drain=timedelta(0), **settings), client)
        running = asyncio.create_task(edge.serve(stop))
        while not edge.server.started:
            await asyncio.sleep(0.01)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
            yield http
        stop.set()
        await running


def routes() -> list[str]:
    """Every method and path that the app serves; `GET /assets/...` is a folder of files."""
    app = make_app(cast(Any, None), cast(Any, None))
    # The FastAPI that vLLM pins has the routes of an included router in its own list.
    contexts = getattr(fastapi.routing, "iter_route_contexts", lambda found: found)(app.routes)
    found = []
    for route in contexts:
        methods = getattr(route, "methods", None)
        found += [f"{method} {route.path_format}" for method in sorted(methods or ()) if method != "HEAD"]
        found += [] if methods else [f"GET {route.path}/..."]
    return found


def body(script: str, **more: Any) -> dict[str, Any]:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": script}]
    return {"model": "scripted@0.8", "messages": messages} | more


async def ask(http: httpx.AsyncClient, script: str, **more: Any) -> httpx.Response:
    return await http.post("/v1/chat/completions", json=body(script, **more))


async def stream(http: httpx.AsyncClient, script: str, **more: Any) -> Chunks:
    """All chunks; the stream ends as OpenAI's does."""
    async with http.stream("POST", "/v1/chat/completions", json=body(script, stream=True, **more)) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        lines = [line async for line in reply.aiter_lines() if line and not line.startswith(":")]
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


def said(chunks: Chunks, field: str = "content") -> str:
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    return "".join(delta.get(field) or "" for delta in deltas)
