"""Uploads over a real connection: refused before they are received, given up where nothing comes, bounded in number."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from services.gateway.batches.files import Files
from services.gateway.batches.service import FILES, FileService
from services.gateway.batches.uploads import UploadLimits, Uploads
from services.shared.file_store.store import FileStore
from services.shared.identity.authentication import ApiKeys, Authentication
from services.shared.identity.caller import Caller
from services.shared.identity.turns import LookUps
from services.shared.process.server import Server
from tandem import AsyncClient, RequestError
from tandem.access.keys import KeyFile
from tandem.method.errors import FailedPrecondition
from tandem.v1 import batch_pb2, batch_pb2_grpc

pytestmark = pytest.mark.asyncio(loop_scope="session")
BOUND_SECONDS = 60.0
PATIENT = UploadLimits(at_once=3, of_tenant=2)
TENANTS = ("acme", "other", "limited")


def require_allowed(caller: Caller) -> None:
    if caller.tenant == "limited":
        raise FailedPrecondition("tenant 'limited' has limits", reason="BATCHES_NOT_LIMITED")


@asynccontextmanager
async def serving(folder: Path, limits: UploadLimits, files: str = "files") -> AsyncIterator[dict[str, AsyncClient]]:
    """A client of each tenant, of a server that stores files in `files` below the folder; empty: in none."""
    keys = KeyFile(folder / "keys.json")
    secrets = {tenant: keys.create(tenant)[1] for tenant in TENANTS}
    server = Server("127.0.0.1", 0, [FILES], [Authentication(ApiKeys(keys.path)).check])
    store = FileStore(str(folder / files) if files else "")
    service = FileService(Files(store), Uploads(limits), require_allowed, LookUps(16, keeps_pace=False))
    batch_pb2_grpc.add_FileServiceServicer_to_server(service, server.grpc)
    await server.start()
    await server.serving()
    clients = {tenant: AsyncClient(f"127.0.0.1:{server.port}", key) for tenant, key in secrets.items()}
    yield clients
    for client in clients.values():
        await client.close()
    await server.stop(timedelta(0))


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The temporary files that were made; when the test is over, all of them are closed."""
    made: list[Any] = []
    real = tempfile.TemporaryFile

    def recorded(*arguments: Any, **options: Any) -> Any:
        made.append(real(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(tempfile, "TemporaryFile", recorded)
    yield made
    assert all(file.closed for file in made)


class Held:
    """Uploads that have begun, and go on when they may."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()

    async def content(self) -> AsyncIterator[bytes]:
        yield b"one\n"
        await self.may_end.wait()
        yield b"two\n"

    def begin(self, client: AsyncClient) -> asyncio.Task[batch_pb2.File]:
        return asyncio.create_task(client.batches.upload("a.jsonl", self.content()))


async def have_begun(received: list[Any], number: int) -> None:
    async with asyncio.timeout(BOUND_SECONDS):
        while len(received) < number:
            await asyncio.sleep(0.01)


async def refused(client: AsyncClient, held: Held) -> RequestError:
    async with asyncio.timeout(BOUND_SECONDS):
        with pytest.raises(RequestError) as refused:
            await held.begin(client)
    return refused.value


async def test_uploads_are_bounded_for_a_tenant_and_for_all(tmp_path: Path, received: list[Any]) -> None:
    async with serving(tmp_path, PATIENT) as clients:
        held, acme, other = Held(), clients["acme"], clients["other"]
        begun = [held.begin(acme), held.begin(acme)]
        await have_begun(received, 2)
        error = await refused(acme, held)
        assert (error.code.name, error.reason, error.retry_after_s) == ("RESOURCE_EXHAUSTED", "TOO_MANY_UPLOADS", 5.0)
        assert "tenant 'acme' uploads 2 files" in str(error)
        begun.append(held.begin(other))
        await have_begun(received, 3)
        assert "3 files are being uploaded" in str(await refused(other, held))
        assert len(received) == 3
        held.may_end.set()
        assert [file.bytes for file in await asyncio.gather(*begun)] == [8, 8, 8]
        assert (await held.begin(acme)).bytes == 8


async def test_an_upload_whose_caller_has_gone_gives_its_place_back(tmp_path: Path, received: list[Any]) -> None:
    async with serving(tmp_path, UploadLimits(of_tenant=1)) as clients:
        held = Held()
        gone = held.begin(clients["acme"])
        await have_begun(received, 1)
        gone.cancel()
        held.may_end.set()
        async with asyncio.timeout(BOUND_SECONDS):
            while not received[0].closed:  # the gateway hears of it a moment later
                await asyncio.sleep(0.01)
            assert (await held.begin(clients["acme"])).bytes == 8


@pytest.mark.parametrize("pieces", [[], [b""]], ids=["silence", "empty messages"])
async def test_an_upload_without_content_is_given_up(tmp_path: Path, received: list[Any], pieces: list[bytes]) -> None:
    async def content() -> AsyncIterator[bytes]:
        yield b"one\n"
        while True:
            for piece in pieces:
                yield piece
            await asyncio.sleep(0.05)

    async with serving(tmp_path, UploadLimits(silence=timedelta(seconds=0.5))) as clients:
        async with asyncio.timeout(BOUND_SECONDS):
            with pytest.raises(RequestError, match=r"no content came for 0\.5 s") as refused:
                await clients["acme"].batches.upload("a.jsonl", content())
        assert (refused.value.code.name, refused.value.reason) == ("RESOURCE_EXHAUSTED", "UPLOAD_TOO_SLOW")
        assert (await clients["acme"].batches.files()).files == []


async def test_who_may_have_no_batch_is_refused_before_anything_is_received(
    tmp_path: Path, received: list[Any]
) -> None:
    async with serving(tmp_path, PATIENT) as clients:
        assert (await refused(clients["limited"], Held())).reason == "BATCHES_NOT_LIMITED"
    assert received == []


async def test_without_a_store_nothing_is_received(tmp_path: Path, received: list[Any]) -> None:
    async with serving(tmp_path, PATIENT, files="") as clients:
        assert (await refused(clients["acme"], Held())).reason == "NO_FILE_STORE"
    assert received == []
