"""examples/temporal/codec_server.py: Temporal's command line and page read what is encrypted; no other page does."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from services.shared.process.temporal import data_converter
from tandem.local.ports import free_port
from tandem.paths import REPOSITORY, find_binary
from tests.conftest import wait_until
from tests.integration.asking import ask
from tests.integration.conftest import run_system
from tests.keys import key_file

pytestmark = pytest.mark.nightly
EXAMPLE = REPOSITORY / "examples" / "temporal" / "codec_server.py"
PAGE, OTHER = "http://127.0.0.1:8233", "https://evil.example"


def listens(port: int) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.options(f"http://127.0.0.1:{port}/decode").is_success
    return False


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> str:
    return key_file(tmp_path_factory.mktemp("codec"), "one")


@pytest.fixture(scope="module")
def server(keys: str) -> Iterator[str]:
    port = free_port()
    environment = {**os.environ, "TANDEM_PAYLOAD_KEYS": keys}
    with subprocess.Popen([sys.executable, str(EXAMPLE), str(port)], cwd=REPOSITORY, env=environment) as process:
        wait_until(lambda: process.poll() is not None or listens(port))
        yield f"http://127.0.0.1:{port}"
        process.terminate()


@pytest.mark.asyncio(loop_scope="session")
async def test_temporals_own_command_reads_a_request_through_it(
    redis_url: str, temporal_address: str, profiles_folder: Path, keys: str, server: str
) -> None:
    word = f"w{uuid4().hex}"
    async with run_system(
        "scripted", profiles_folder, redis_url, temporal_address, converter=data_converter(keys), alias="codec-example"
    ) as system:
        request_id = (await ask(system, f"[scores=16:0.9 slm_eos=5] {word}"))["request_id"]

    async def shown(*options: str) -> str:
        show = ["workflow", "show", "--workflow-id", request_id, "--address", temporal_address, "--output", "json"]
        process = await asyncio.create_subprocess_exec(
            str(find_binary("temporal")), *show, *options, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        output = (await process.communicate())[0].decode()
        data = re.findall(r'"data": "([^"]*)"', output)
        return output + "".join(base64.b64decode(each).decode(errors="replace") for each in data)

    assert word not in await shown()
    assert word in await shown("--codec-endpoint", server)


@pytest.mark.parametrize(("origin", "status"), [(PAGE, 200), (OTHER, 403)])
def test_only_temporals_page_may_ask(server: str, origin: str, status: int) -> None:
    payload = {"metadata": {"encoding": base64.b64encode(b"json/plain").decode()}, "data": "Mg=="}
    for sent in (
        httpx.options(f"{server}/decode", headers={"origin": origin}),
        httpx.post(f"{server}/encode", json={"payloads": [payload]}, headers={"origin": origin}),
    ):
        assert sent.status_code == status
        assert sent.headers.get("access-control-allow-origin") == (origin if status == 200 else None)
    encoded = httpx.post(f"{server}/encode", json={"payloads": [payload]}).json()
    assert encoded["payloads"] != [payload]
    assert httpx.post(f"{server}/decode", json=encoded).json() == {"payloads": [payload]}


@pytest.mark.parametrize(
    "body", [b"", b"\xff", b"[" * 100_000, b'{"payloads": [{"metadata": {"encoding": "YmluYXJ5L2VuY3J5cHRlZA=="}}]}']
)
def test_what_cannot_be_decoded_is_refused(server: str, body: bytes) -> None:
    assert httpx.post(f"{server}/decode", content=body).status_code == 400
