"""Pages of somebody else before a gateway that asks nobody for a credential: by hand, and in a real browser."""

from __future__ import annotations

import functools
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tandem.local.layout import PROCESSES, Layout
from tandem.local.ports import free_port
from tandem.local.programs import program
from tests.browser import chromium, needs_chromium
from tests.conftest import run_server
from tests.integration.conftest import System, run_system
from tests.integration.edge import body, serving

pytestmark = pytest.mark.asyncio(loop_scope="session")
ASK = "[scores=0:0.9 slm_eos=3]"
MODEL = "scripted-strange-pages"
# Both names lead to this machine, as a name of the attacker's own does once he changes where it points (DNS rebinding).
EVIL = ("--host-resolver-rules=MAP evil.example 127.0.0.1, MAP good.example 127.0.0.1",)
CALL = """async ([url, options]) => {
  if (options.file) {
    options.body = new FormData()
    options.body.append('purpose', 'batch')
    options.body.append('file', new Blob([options.file]), 'evil.jsonl')
  }
  try {
    const reply = await fetch(url, options)
    return [reply.status, await reply.text()]
  } catch (error) {
    return [0, String(error)]
  }
}"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def filed(
    redis_url: str, temporal_address: str, profiles_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[System]:
    """A system that asks nobody for a credential, with a file store."""
    folder = tmp_path_factory.mktemp("strange-files")
    running = run_system(
        "scripted", profiles_folder, redis_url, temporal_address, alias="strange-pages", files=str(folder)
    )
    async with running as system:
        yield system


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def local(filed: System) -> AsyncIterator[httpx.AsyncClient]:
    """As `tandem up` has it, with a page elsewhere that may ask."""
    async with serving(filed.client.address, allowed_origins=("http://good.example",)) as client:
        yield client


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[int]:
    """The port of another server on this machine, whose pages are empty."""
    (tmp_path / "index.html").write_text("<!doctype html><title>elsewhere</title>")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def error_of(reply: httpx.Response) -> tuple[int, str]:
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return reply.status_code, error["code"]


async def files(http: httpx.AsyncClient) -> list[Any]:
    return list((await http.get("/v1/files")).json()["data"])


@pytest.mark.parametrize("path", ["/", "/assets/app.js", "/api/requests", "/v1/models", "/openapi.json", "/nowhere"])
async def test_a_name_that_is_made_to_point_here_is_refused_in_openais_shape(
    local: httpx.AsyncClient, path: str
) -> None:
    refused = await local.get(path, headers={"host": "evil.example"})
    assert error_of(refused) == (421, "host_not_allowed")
    assert "TANDEM_ALLOWED_HOSTS" in refused.json()["error"]["message"]


@pytest.mark.parametrize("headers", [{"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}])
async def test_a_strange_page_changes_nothing_in_v1(local: httpx.AsyncClient, headers: dict[str, str]) -> None:
    upload = {"data": {"purpose": "batch"}, "files": {"file": ("evil.jsonl", b"x" * 2**20)}}
    asked = [
        await local.post("/v1/files", headers=headers, **upload),
        await local.post("/v1/chat/completions", headers=headers, json=body(ASK, model=MODEL)),
        await local.post("/v1/responses", headers=headers, json={"model": MODEL, "input": ASK}),
        await local.post("/v1/batches", headers=headers, json={}),
        await local.post("/v1/batches/batch-x/cancel", headers=headers),
        await local.delete("/v1/files/file-x", headers=headers),
    ]
    assert {error_of(reply) for reply in asked} == {(403, "origin_not_allowed")}
    assert await files(local) == []


async def test_programs_and_listed_origins_ask(local: httpx.AsyncClient) -> None:
    asked = body(ASK, model=MODEL)
    assert (await local.post("/v1/chat/completions", json=asked)).status_code == 200
    listed = {"origin": "http://good.example", "sec-fetch-site": "cross-site"}
    reply = await local.post("/v1/chat/completions", json=asked, headers=listed)
    assert (reply.status_code, reply.headers["access-control-allow-origin"]) == (200, "http://good.example")
    preflight = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    for origin, status in (("http://good.example", 200), ("http://evil.example", 400)):
        asked_before = await local.options("/v1/files", headers={"origin": origin, **preflight})
        assert asked_before.status_code == status


async def test_temporals_http_api_of_the_local_stack_refuses_a_name_that_is_made_to_point_here(tmp_path: Path) -> None:
    def command(port: int) -> list[str]:
        ports = {"main": free_port(), "http": port, "metrics": free_port()}
        [temporal] = [process for process in PROCESSES if process.name == "temporal"]
        return program(Layout(tmp_path, "any", {"temporal": ports}), temporal).command

    def status(port: int, host: str) -> int:
        url = f"http://127.0.0.1:{port}/api/v1/namespaces/default/workflows"
        return httpx.get(url, headers={"host": f"{host}:{port}"}).status_code

    def lists(port: int) -> bool:
        try:
            return status(port, "127.0.0.1") == 200
        except httpx.TransportError:
            return False

    with run_server(command, lists) as port:
        assert [status(port, host) for host in ("localhost", "127.0.0.1", "evil.example")] == [200, 200, 403]


@needs_chromium
async def test_in_a_browser_a_rebound_name_reads_and_asks_nothing(local: httpx.AsyncClient, elsewhere: int) -> None:
    """The page is loaded from evil.example; then the name leads to the gateway's own port, of one origin with the
    page.
    """
    port = local.base_url.port
    async with chromium(*EVIL) as browser:
        page = await browser.new_page()
        await page.goto(f"http://evil.example:{port}/")
        assert "host_not_allowed" in await page.content()
        tried = [
            await page.evaluate(CALL, [f"http://evil.example:{port}{path}", options])
            for path, options in (
                ("/api/requests", {}),
                ("/v1/models", {}),
                ("/api/requests", {"method": "POST", "body": "{}", "headers": {"content-type": "application/json"}}),
                ("/v1/files", {"method": "POST", "file": "x" * 2**20}),
            )
        ]
        assert [status for status, _ in tried] == [421] * 4
        assert await files(local) == []


@needs_chromium
async def test_in_a_browser_a_page_elsewhere_writes_nothing_and_the_own_page_does(
    local: httpx.AsyncClient, elsewhere: int
) -> None:
    address = f"http://127.0.0.1:{local.base_url.port}"
    upload = {"method": "POST", "mode": "no-cors", "file": '{"custom_id": "a"}\n'}
    async with chromium(*EVIL) as browser:
        page = await browser.new_page()
        for strange in (f"http://evil.example:{elsewhere}/", f"http://127.0.0.1:{elsewhere}/"):
            await page.goto(strange)
            await page.evaluate(CALL, [f"{address}/v1/files", upload])
            assert await files(local) == []
        await page.goto(f"{address}/")
        status, text = await page.evaluate(CALL, [f"{address}/v1/files", {"method": "POST", "file": "{}\n"}])
        assert status == 200, text
        [written] = await files(local)
        assert (await local.delete(f"/v1/files/{written['id']}")).status_code == 200
