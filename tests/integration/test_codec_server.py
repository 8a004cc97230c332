"""`tandem codec-server`: Temporal's page and command line read what is encrypted, and nobody else does."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from google.protobuf.json_format import MessageToDict
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.client import Client as TemporalClient

from services.codec_server.__main__ import authentication
from services.shared.identity.authentication import IdentitySettings
from services.shared.process.temporal import data_converter
from tandem.access.keys import KeyFile
from tandem.local.ports import free_port
from tandem.paths import REPOSITORY, find_binary
from tests.conftest import wait_until
from tests.integration.asking import ask
from tests.integration.conftest import run_system
from tests.keys import key_file

pytestmark = pytest.mark.asyncio(loop_scope="session")
TANDEM = (sys.executable, "-c", "from tandem.cli import main; main()")
PAGE = "https://temporal.example.com"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the payload keys, in one.json."""
    folder = tmp_path_factory.mktemp("codec")
    key_file(folder, "one")
    return folder


@pytest.fixture(scope="module")
def credentials(folder: Path) -> dict[str, str]:
    keys = KeyFile(folder / "api-keys.json")
    revoked, secret = keys.create("gone", ["admin"])
    keys.revoke(revoked.id)
    return {"admin": keys.create("operations", ["admin"])[1], "tenant": keys.create("acme")[1], "revoked": secret}


@contextlib.contextmanager
def codec_server(folder: Path, *options: str, **variables: str) -> Iterator[str]:
    """The command itself; its address."""
    port = free_port()
    command = [*TANDEM, "codec-server", "--port", str(port), *options]
    environment = {**os.environ, "TANDEM_PAYLOAD_KEYS": str(folder / "one.json"), **variables}
    process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, start_new_session=True)
    try:
        wait_until(lambda: process.poll() is not None or _answers(port))
        assert process.poll() is None
        yield f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 2)
        process.wait(30)


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz").text == "ok"
    except httpx.TransportError:
        return False


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def asked(
    redis_url: str, temporal_address: str, profiles_folder: Path, folder: Path
) -> AsyncIterator[tuple[str, str, list[Payload]]]:
    """A request that was answered: its id, a word of its question, and the payloads of its workflow as Temporal has
    them.
    """
    word = f"w{uuid4().hex}"
    converter = data_converter(str(folder / "one.json"))
    async with run_system(
        "scripted", profiles_folder, redis_url, temporal_address, converter=converter, alias="codec-server"
    ) as system:
        request_id = (await ask(system, f"[scores=16:0.9 slm_eos=5] {word}"))["request_id"]
    handle = (await TemporalClient.connect(temporal_address)).get_workflow_handle(request_id)
    started, *_, ended = [event async for event in handle.fetch_history_events()]
    yield (
        request_id,
        word,
        [
            *started.workflow_execution_started_event_attributes.input.payloads,
            *ended.workflow_execution_completed_event_attributes.result.payloads,
        ],
    )


@pytest.fixture(scope="module")
def guarded(folder: Path, credentials: dict[str, str]) -> Iterator[str]:
    """A server that asks for a key."""
    with codec_server(folder, "--origin", PAGE, TANDEM_API_KEYS=str(folder / "api-keys.json")) as address:
        yield address


def sent(payloads: list[Payload]) -> dict[str, Any]:
    return MessageToDict(Payloads(payloads=payloads))


async def post(address: str, path: str, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with httpx.AsyncClient() as http:
        return await http.post(f"{address}{path}", content=content, headers=headers)


def opened(reply: httpx.Response) -> list[bytes]:
    return [base64.b64decode(payload["data"]) for payload in reply.json()["payloads"]]


async def test_the_payloads_of_a_workflow_are_decoded_and_encoded_for_an_admin(
    guarded: str, asked: tuple[str, str, list[Payload]], credentials: dict[str, str]
) -> None:
    _, word, payloads = asked
    admin = {"authorization": f"Bearer {credentials['admin']}", "x-namespace": "default"}
    assert not any(word.encode() in payload.data for payload in payloads)
    reply = await post(guarded, "/decode", sent(payloads), **admin)
    assert reply.status_code == 200
    decoded = opened(reply)
    assert all(word.encode() in data for data in decoded)
    again = await post(guarded, "/encode", reply.json(), **admin)
    assert not any(word.encode() in data for data in opened(again))
    assert (await post(guarded, "/decode", again.json(), **admin)).json() == reply.json()
    assert (await post(guarded, "/decode", reply.json(), **admin)).json() == reply.json()  # is plain, and stays so


@pytest.mark.parametrize(
    ("who", "status"), [("nobody", 401), ("stranger", 401), ("revoked", 401), ("tenant", 403), ("admin", 200)]
)
@pytest.mark.parametrize("path", ["/decode", "/encode"])
async def test_only_an_admins_credential_decodes(
    guarded: str, asked: tuple[str, str, list[Payload]], credentials: dict[str, str], who: str, status: int, path: str
) -> None:
    known = {**credentials, "stranger": "tdm_stranger"}
    headers = {"authorization": f"Bearer {known[who]}"} if who in known else {}
    reply = await post(guarded, path, sent(asked[2]), **headers)
    assert reply.status_code == status
    if status != 200:
        assert asked[1] not in reply.text


async def test_a_browser_may_ask_for_the_page_that_was_named_only(
    guarded: str, asked: tuple[str, str, list[Payload]], credentials: dict[str, str]
) -> None:
    admin = {"authorization": f"Bearer {credentials['admin']}"}
    asking = {"access-control-request-method": "POST", "access-control-request-headers": "content-type,x-namespace"}
    async with httpx.AsyncClient() as http:
        allowed = await http.options(f"{guarded}/decode", headers={"origin": PAGE, **asking})
        refused = await http.options(f"{guarded}/decode", headers={"origin": "https://evil.example", **asking})
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, PAGE)
    assert (refused.status_code, refused.headers.get("access-control-allow-origin")) == (400, None)
    reply = await post(guarded, "/decode", sent(asked[2]), origin=PAGE, **admin)
    assert (reply.status_code, reply.headers["access-control-allow-origin"]) == (200, PAGE)
    reply = await post(guarded, "/decode", sent(asked[2]), origin="https://evil.example", **admin)
    assert (reply.status_code, "access-control-allow-origin" in reply.headers) == (403, False)


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"", 400, "INVALID_ARGUMENT"),
        (b"\xff", 400, "INVALID_ARGUMENT"),
        (b'{"payloads": 1}', 400, "INVALID_ARGUMENT"),
        (b'{"payloads": [{"data": 1}]}', 400, "INVALID_ARGUMENT"),
        (b"[" * 100_000, 400, "INVALID_ARGUMENT"),
        (
            b'{"payloads": [{"metadata": {"encoding": "YmluYXJ5L2VuY3J5cHRlZA==", "encryption-key-id": "Z29uZQ=="}}]}',
            409,
            "TEXT_UNREADABLE",
        ),
        (
            b'{"payloads": [{"metadata": {"encoding": "YmluYXJ5L2VuY3J5cHRlZA==", "encryption-key-id": "b25l"}}]}',
            409,
            "TEXT_UNREADABLE",
        ),
        (b'{"payloads": [{"metadata": {"encoding": "YmluYXJ5L2VuY3J5cHRlZA=="}}]}', 409, "TEXT_UNREADABLE"),
    ],
)
async def test_what_cannot_be_decoded_is_refused_by_name(
    guarded: str, credentials: dict[str, str], body: bytes, status: int, reason: str
) -> None:
    reply = await post(guarded, "/decode", body, authorization=f"Bearer {credentials['admin']}")
    assert (reply.status_code, reply.json()["reason"]) == (status, reason)


async def test_a_body_without_end_is_refused(guarded: str, credentials: dict[str, str]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(guarded.rpartition(":")[2]))
    head = (
        f"POST /decode HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {credentials['admin']}\r\nContent-Length: "
        f"{10**9}\r\n\r\n"
    )
    writer.write(head.encode())
    async with asyncio.timeout(60):
        assert (await reader.readline()).split()[1] == b"413"
    writer.close()


async def test_headers_without_end_are_refused(guarded: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(guarded.rpartition(":")[2]))
    writer.write(b"POST /decode HTTP/1.1\r\nHost: x\r\nX-Flood: ")
    said = b""
    async with asyncio.timeout(60):  # without a bound it would wait for the rest
        with contextlib.suppress(ConnectionError):  # closed while the client still writes
            for _ in range(128):
                writer.write(b"x" * 2**10)
                await writer.drain()
            said = await reader.read(100)
    assert not said or said.startswith(b"HTTP/1.1 400")
    writer.close()


async def test_temporals_own_command_reads_a_request_through_it(
    temporal_address: str,
    folder: Path,
    asked: tuple[str, str, list[Payload]],
    guarded: str,
    credentials: dict[str, str],
) -> None:
    request_id, word, _ = asked
    with codec_server(folder) as own_machine:  # asks nobody

        async def shown(*options: str) -> str:
            show = ["workflow", "show", "--workflow-id", request_id, "--address", temporal_address, "--output", "json"]
            process = await asyncio.create_subprocess_exec(
                str(find_binary("temporal")), *show, *options, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            output = (await process.communicate())[0].decode()
            data = re.findall(r'"data": "([^"]*)"', output)
            return output + "".join(base64.b64decode(each).decode(errors="replace") for each in data)

        assert word not in await shown()
        assert word in await shown("--codec-endpoint", own_machine)
        admin = ("--codec-auth", f"Bearer {credentials['admin']}")
        assert word in await shown("--codec-endpoint", guarded, *admin)
        assert word not in await shown("--codec-endpoint", guarded)


def run(folder: Path, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [*TANDEM, "codec-server", *options]
    environment = {**os.environ, "TANDEM_PAYLOAD_KEYS": key_file(folder, "one"), **variables}
    return subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


async def test_beyond_this_machine_it_does_not_start_without_credentials(tmp_path: Path) -> None:
    for variables in ({}, {"TANDEM_ALLOW_ANONYMOUS": "true"}):
        refused = await asyncio.to_thread(run, tmp_path, "--host", "0.0.0.0", **variables)
        assert refused.returncode == 1
        assert "could read every question: set TANDEM_API_KEYS" in refused.stderr
    with pytest.raises(ValueError, match="could read every question"):
        authentication("0.0.0.0", IdentitySettings(allow_anonymous=True))


async def test_it_does_not_start_without_payload_keys(tmp_path: Path) -> None:
    for value in ("", str(tmp_path / "none.json")):
        refused = await asyncio.to_thread(run, tmp_path, TANDEM_PAYLOAD_KEYS=value)
        assert refused.returncode == 1
        assert "TANDEM_PAYLOAD_KEYS" in refused.stderr
