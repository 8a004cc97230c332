"""Who sends a body is asked before it is read, and large bodies keep nobody else waiting."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from services.http_gateway.reading import MOST_WAITING
from services.shared.identity.authentication import ApiKeys, Authentication
from tandem.access.keys import KeyFile
from tandem.local.ports import free_port
from tandem.paths import REPOSITORY
from tests.integration.conftest import System, run_system
from tests.integration.edge import ask, serving

pytestmark = pytest.mark.asyncio(loop_scope="session")
CHAT = "/v1/chat/completions"
ASK = "[scores=0:0.9 slm_eos=3]"
AT_ONCE, BOUND_SECONDS = 60, 60.0
WAIT_SECONDS = 30.0
"""That a probe or another caller waits at most, on a machine that other tests keep busy."""
MANY = json.dumps({"model": "m", "messages": [{"role": "u", "content": ""}] * 50_000}).encode()
LARGE = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * 1800}] * 1024}).encode()


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> KeyFile:
    return KeyFile(tmp_path_factory.mktemp("keys") / "keys.json")


@pytest.fixture(scope="module")
def key(key_file: KeyFile) -> str:
    return key_file.create("acme")[1]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def guarded(
    redis_url: str, temporal_address: str, profiles_folder: Path, key_file: KeyFile, key: str
) -> AsyncIterator[System]:
    authentication = Authentication(ApiKeys(key_file.path))
    async with run_system(
        "scripted", profiles_folder, redis_url, temporal_address, authentication=authentication, alias="reading"
    ) as system:
        yield system


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def edge(guarded: System) -> AsyncIterator[str]:
    """URL of an HTTP gateway that is a process of its own."""
    port = free_port()
    variables = {"TANDEM_PORT": str(port), "TANDEM_GATEWAY": guarded.client.address}
    command, environment = (sys.executable, "-m", "services.http_gateway"), {**os.environ, **variables}
    process = await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY, env=environment)
    address = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(base_url=address) as http, asyncio.timeout(BOUND_SECONDS):
        while not await _is_ready(http):
            assert process.returncode is None
            await asyncio.sleep(0.05)
    yield address
    process.terminate()
    await asyncio.wait_for(process.wait(), BOUND_SECONDS)


async def _is_ready(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/readyz")).status_code == 200
    except httpx.TransportError:
        return False


def _headers(size: int, **more: str) -> bytes:
    lines = {"host": "localhost", "content-type": "application/json", "content-length": str(size), **more}
    return (f"POST {CHAT} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in lines.items()) + "\r\n").encode()


async def _begin(http: httpx.AsyncClient, size: int, **more: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A request whose body does not come."""
    reader, writer = await asyncio.open_connection(http.base_url.host, http.base_url.port)
    writer.write(_headers(size, **more))
    assert (await http.get("/healthz")).status_code == 200  # by now its headers are read
    return reader, writer


async def _status(reader: asyncio.StreamReader) -> tuple[int, dict[str, Any], bytes]:
    """Of a reply: its status, its body, and its headers."""
    async with asyncio.timeout(BOUND_SECONDS):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length"))
        return int(head.split()[1]), json.loads(await reader.readexactly(length)), head


@pytest.mark.parametrize("authorization", ["", "Bearer tk-nobodys", "Basic eDp5"])
async def test_without_a_credential_none_of_a_body_is_waited_for(guarded: System, authorization: str) -> None:
    async with serving(guarded.client.address) as http:
        reader, writer = await _begin(http, 2**20, **({"authorization": authorization} if authorization else {}))
        status, error, _ = await _status(reader)
        assert (status, error["error"]["type"]) == (401, "authentication_error")
        writer.close()


async def test_a_body_that_cannot_be_read_is_the_error_after_the_credential(guarded: System, key: str) -> None:
    async with serving(guarded.client.address) as http:
        for headers, status in (({}, 401), ({"authorization": f"Bearer {key}"}, 400)):
            for content in (b"{", b"[" * 10_000, MANY, b'{"model": 1}'):
                sent = {"content-type": "application/json", **headers}
                reply = await http.post(CHAT, content=content, headers=sent)
                assert reply.status_code == status, reply.text
                assert reply.json()["error"]["message"]


async def test_a_small_body_does_not_wait_for_large_ones_of_its_address(http: httpx.AsyncClient) -> None:
    begun = [await _begin(http, 2**20) for _ in range(20)]
    assert (await ask(http, ASK)).status_code == 200
    for _, writer in begun:
        writer.close()


async def test_how_many_of_an_address_wait_is_bounded(system: System) -> None:
    async with serving(system.client.address) as http:
        begun = [await _begin(http, 2**20) for _ in range(MOST_WAITING)]
        reader, one_more = await _begin(http, 2**20)
        status, error, head = await _status(reader)
        assert (status, error["error"]["code"]) == (429, "too_many_waiting")
        assert b"retry-after: 1" in head
        for _, writer in begun:
            writer.close()
        one_more.close()


@pytest.mark.parametrize(("trusted", "is_refused"), [(["127.0.0.1"], False), ([], True)])
async def test_behind_a_trusted_proxy_an_address_is_the_clients_own(
    system: System, trusted: list[str], is_refused: bool
) -> None:
    async with serving(system.client.address, trusted_proxies=trusted) as http:
        begun = [await _begin(http, 100_000, **{"x-forwarded-for": "192.0.2.1"}) for _ in range(MOST_WAITING)]
        content = json.dumps({"model": "nobodys", "messages": [{"role": "user", "content": "x" * 99_000}]})
        headers = {"x-forwarded-for": "192.0.2.2", "content-type": "application/json"}
        reply = await http.post(CHAT, content=content, headers=headers)
        assert reply.status_code == (429 if is_refused else 404), reply.text  # 404: it was read
        for _, writer in begun:
            writer.close()


async def _longest(call: Any, stop: asyncio.Event) -> float:
    """Seconds that the longest of one call after the other took."""
    longest = 0.0
    while not stop.is_set():
        began = time.monotonic()
        await call()
        longest = max(longest, time.monotonic() - began)
        await asyncio.sleep(0.02)
    return longest


@pytest.mark.parametrize(("content", "has_key", "status"), [(MANY, False, 401), (MANY, True, 400), (LARGE, True, 404)])
async def test_sixty_large_bodies_keep_no_probe_and_no_other_caller_waiting(
    edge: str, key: str, content: bytes, has_key: bool, status: int
) -> None:
    headers = {"content-type": "application/json"}
    known = {"authorization": f"Bearer {key}"}
    limits, stop = httpx.Limits(max_connections=AT_ONCE), asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        attacker, probe, other = [
            await stack.enter_async_context(httpx.AsyncClient(base_url=edge, limits=limits, timeout=BOUND_SECONDS))
            for _ in range(3)
        ]

        async def ask_small() -> None:
            reply = await other.post(CHAT, json={"model": "m", "messages": []}, headers=known)
            assert reply.status_code == 400

        watching = [asyncio.create_task(_longest(call, stop)) for call in (lambda: probe.get("/healthz"), ask_small)]
        sent = headers | (known if has_key else {})
        replies = await asyncio.gather(*(attacker.post(CHAT, content=content, headers=sent) for _ in range(AT_ONCE)))
        stop.set()
        assert max(await asyncio.gather(*watching)) < WAIT_SECONDS
        assert {reply.status_code for reply in replies} == {status}
