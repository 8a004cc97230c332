"""The files of a tenant have a number of bytes together at most, counted exactly, and freed when files are deleted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from services.gateway.batches.files import Files
from services.gateway.batches.service import FILES, FileService
from services.gateway.batches.uploads import UploadLimits, Uploads
from services.shared.file_store import paths
from services.shared.file_store.store import FileStore
from services.shared.identity.authentication import ApiKeys, Authentication
from services.shared.identity.turns import LookUps
from services.shared.process.server import Server
from tandem import AsyncClient, RequestError
from tandem.access.keys import KeyFile
from tandem.v1 import batch_pb2, batch_pb2_grpc
from tests.integration.edge import serving

pytestmark = pytest.mark.asyncio(loop_scope="session")
QUOTA, SIZE, AT_ONCE = 1000, 300, 12
FIT = QUOTA // SIZE
TENANTS = ("acme", "other")


@asynccontextmanager
async def gateway(folder: Path) -> AsyncIterator[tuple[str, dict[str, str]]]:
    """The address of a gateway over the store in `folder`, and a key of each tenant. Another one may have the same
    store.
    """
    keys = KeyFile(folder / "keys.json")
    secrets = {tenant: keys.create(tenant)[1] for tenant in TENANTS}
    server = Server("127.0.0.1", 0, [FILES], [Authentication(ApiKeys(keys.path)).check])
    files = Files(FileStore(str(folder / "files")), QUOTA)
    service = FileService(
        files, Uploads(UploadLimits(of_tenant=AT_ONCE)), lambda _: None, LookUps(16, keeps_pace=False)
    )
    batch_pb2_grpc.add_FileServiceServicer_to_server(service, server.grpc)
    await server.start()
    await server.serving()
    yield f"127.0.0.1:{server.port}", secrets
    await server.stop(timedelta(0))


async def upload(client: AsyncClient, size: int = SIZE) -> batch_pb2.File | RequestError:
    async def content() -> AsyncIterator[bytes]:
        yield b"x" * size

    try:
        return await client.batches.upload("a.jsonl", content())
    except RequestError as error:
        return error


def is_quota(found: batch_pb2.File | RequestError) -> bool:
    if not isinstance(found, RequestError):
        return False
    assert (found.code.name, found.reason) == ("RESOURCE_EXHAUSTED", "FILE_QUOTA_EXCEEDED")
    return True


def stored(folder: Path, tenant: str) -> int:
    return sum(entry.bytes for entry in FileStore(str(folder / "files")).entries(paths.files(tenant)))


async def test_uploads_at_the_same_time_are_counted_to_the_byte(tmp_path: Path) -> None:
    async with gateway(tmp_path) as (address, keys), AsyncClient(address, keys["acme"]) as acme:
        tried = await asyncio.gather(*(upload(acme) for _ in range(AT_ONCE)))
        assert [is_quota(each) for each in tried].count(False) == FIT
        left = QUOTA - FIT * SIZE
        assert is_quota(await upload(acme, left + 1))
        assert not is_quota(await upload(acme, left))
        assert is_quota(await upload(acme, 1))
        assert stored(tmp_path, "acme") == QUOTA
        assert sum(file.bytes for file in (await acme.batches.files()).files) == QUOTA


async def test_what_is_deleted_may_be_stored_again_and_another_tenant_is_not_concerned(tmp_path: Path) -> None:
    async with (
        gateway(tmp_path) as (address, keys),
        AsyncClient(address, keys["acme"]) as acme,
        AsyncClient(address, keys["other"]) as other,
    ):
        full = await upload(acme, QUOTA)
        assert is_quota(await upload(acme, 1))
        assert not is_quota(await upload(other, QUOTA))
        assert isinstance(full, batch_pb2.File)
        await acme.batches.delete(full.file_id)
        assert not is_quota(await upload(acme, QUOTA))


async def test_two_gateways_over_one_store_never_hold_more(tmp_path: Path) -> None:
    async with (
        gateway(tmp_path) as (one, keys),
        gateway(tmp_path) as (two, more),
        AsyncClient(one, keys["acme"]) as first,
        AsyncClient(two, more["acme"]) as second,
    ):
        for _ in range(3):
            await asyncio.gather(*(upload(client) for client in (first, second) for _ in range(4)))
            assert stored(tmp_path, "acme") <= QUOTA


async def test_what_a_batch_wrote_counts_for_the_next_upload(tmp_path: Path) -> None:
    FileStore(str(tmp_path / "files")).write(paths.file_path("acme", "file-batch-answers"), [b"x" * (QUOTA + 1)])
    async with gateway(tmp_path) as (address, keys), AsyncClient(address, keys["acme"]) as acme:
        assert is_quota(await upload(acme, 1))


async def test_by_http_it_is_413_in_openais_shape(tmp_path: Path) -> None:
    async with gateway(tmp_path) as (address, keys), serving(address) as http:
        headers = {"authorization": f"Bearer {keys['acme']}"}

        async def post(size: int) -> tuple[int, str | None]:
            sent = {"data": {"purpose": "batch"}, "files": {"file": ("a.jsonl", b"x" * size)}}
            reply = await http.post("/v1/files", headers=headers, **sent)
            return reply.status_code, reply.json().get("error", {}).get("code")

        assert await post(QUOTA) == (200, None)
        assert await post(1) == (413, "file_quota_exceeded")
