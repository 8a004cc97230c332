"""SIGTERM of the HTTP gateway while requests run that outlast its drain: each is told, and none is cut in silence."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio

from tandem.v1 import tandem_pb2
from tests.conftest import free_port
from tests.integration.asking import idle
from tests.integration.conftest import System
from tests.integration.edge import body

pytestmark = pytest.mark.asyncio(loop_scope="session")
LONG = "[scores=0:0.9 slm=word_ slm_eos=1000 ms=1000]"
BOUND_SECONDS = 60.0


@dataclass
class Process:
    running: asyncio.subprocess.Process
    http: httpx.AsyncClient
    is_ending: bool = False

    def ends(self) -> None:
        """A second signal would find it without its handlers."""
        if not self.is_ending:
            self.running.send_signal(signal.SIGTERM)
        self.is_ending = True

    async def begun(self, count: int) -> None:
        """So many requests have been taken, and none is answered."""
        async with asyncio.timeout(BOUND_SECONDS):
            while (await self._seen()) < count:
                await asyncio.sleep(0.05)

    async def _seen(self) -> int:
        listed = (await self.http.get("/api/requests", params={"where": "state = running"})).json()
        return len(listed.get("requests", ()))


@pytest_asyncio.fixture(loop_scope="session")
async def process(system: System) -> AsyncIterator[Process]:
    port = free_port()
    settings = {"TANDEM_PORT": port, "TANDEM_GATEWAY": system.client.address, "TANDEM_DRAIN": 1}
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.http_gateway", env=os.environ | {k: str(v) for k, v in settings.items()}
    )
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=BOUND_SECONDS) as http:
        async with asyncio.timeout(BOUND_SECONDS):
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if (await http.get("/readyz")).status_code == 200:
                        break
                await asyncio.sleep(0.05)
        process = Process(running, http)
        yield process
    process.ends()
    assert await asyncio.wait_for(running.wait(), BOUND_SECONDS) == 0
    await idle(system)


async def told(process: Process, path: str, sent: dict[str, Any]) -> list[str]:
    """The lines of a stream whose process is ended once its first has come; raises where it is cut."""
    lines: list[str] = []
    async with process.http.stream("POST" if sent else "GET", path, json=sent or None) as reply:
        assert reply.status_code == 200
        async for line in reply.aiter_lines():
            if not lines:
                process.ends()
            lines.append(line)
    return [line for line in lines if line]


async def test_a_request_that_is_not_streamed_gets_503_in_openais_shape(process: Process) -> None:
    paths = {"/v1/chat/completions": body(LONG), "/v1/responses": {"model": "scripted", "input": LONG}}
    asking = [asyncio.create_task(process.http.post(path, json=sent)) for path, sent in paths.items()]
    await process.begun(len(paths))
    process.ends()
    for reply in await asyncio.gather(*asking):
        error = reply.json()["error"]
        assert (reply.status_code, error["type"], error["code"]) == (503, "api_error", "server_ends")
        assert reply.headers["retry-after"] == "1"
        assert "ask again" in error["message"]


async def test_a_stream_of_completions_ends_with_an_error_event(process: Process) -> None:
    lines = await told(process, "/v1/chat/completions", body(LONG, stream=True))
    assert json.loads(lines[-1].removeprefix("data: "))["error"]["code"] == "server_ends"


async def test_a_stream_of_responses_ends_with_an_error_event(process: Process) -> None:
    lines = await told(process, "/v1/responses", {"model": "scripted", "input": LONG, "stream": True})
    assert lines[-2] == "event: error"
    assert json.loads(lines[-1].removeprefix("data: "))["code"] == "server_ends"


async def test_the_pages_stream_ends_whole_and_its_request_goes_on(process: Process, system: System) -> None:
    asked = {"question": LONG, "profile": "scripted"}
    request_id = (await process.http.post("/api/requests", json=asked)).json()["request_id"]
    lines = await told(process, f"/api/requests/{request_id}/events", {})
    kinds = {json.loads(line.removeprefix("data: "))["kind"] for line in lines if line.startswith("data: ")}
    assert not kinds & {"completed", "failed"}
    assert (await system.client.get(request_id)).state == tandem_pb2.REQUEST_STATE_RUNNING
    await system.client.cancel(request_id)


async def test_openais_client_raises_the_error_and_asks_elsewhere(process: Process) -> None:
    """Its retries find nobody at this address."""
    address = f"{process.http.base_url}/v1"
    async with openai.AsyncOpenAI(base_url=address, api_key="none", max_retries=0) as client:
        asking = asyncio.create_task(client.chat.completions.create(**body(LONG)))
        await process.begun(1)
        process.ends()
        with pytest.raises(openai.InternalServerError, match="ask again"):
            await asking
