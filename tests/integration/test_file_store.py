"""The file store on a folder and on a server that speaks S3."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import boto3
import pytest
import pytest_asyncio

from services.shared.file_store.store import CHUNK_BYTES, FileStore
from tandem.method.errors import FailedPrecondition, NotFound, Unavailable
from tandem.v1 import batch_pb2
from tests.conftest import run_server
from tests.disks import mounted_disk
from tests.integration.conftest import System, run_system
from tests.integration.test_batch import plain, read, run
from tests.stacks import environment

pytestmark = pytest.mark.asyncio(loop_scope="session")
BUCKET = "tandem-files"


@pytest.fixture(scope="module", autouse=True)
def s3() -> Iterator[str]:
    """URL of a folder in a bucket of a real server."""

    def command(port: int) -> list[str]:
        return [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]

    with run_server(command, lambda port: True) as port:
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
        with environment({**keys, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}):
            boto3.client("s3").create_bucket(Bucket=BUCKET)
            yield f"s3://{BUCKET}/prefix"


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> FileStore:
    return FileStore(str(tmp_path) if request.param == "folder" else f"{request.getfixturevalue('s3')}/{uuid4().hex}")


async def test_folders_are_listed_and_deleted_with_what_is_in_them(store: FileStore) -> None:
    for path in ("a/b/c", "a/d", "e/f"):
        store.write(path, [b"text"])
    assert (store.folders(""), store.folders("a"), store.folders("nowhere")) == (["a", "e"], ["b"], [])
    store.delete_folder("a")
    store.delete_folder("a")
    assert (store.folders(""), store.entries("a"), store.size("a/b/c"), store.size("e/f")) == (["e"], [], None, 4)


async def test_what_is_written_is_read_listed_and_deleted(store: FileStore) -> None:
    assert store.write("a/b", [b"one\n", b"two"]) == 7
    assert store.read("a/b") == b"one\ntwo"
    assert list(store.lines("a/b", 3)) == [b"one\n", b"two"]
    assert b"".join(store.chunks("a/b")) == b"one\ntwo"
    [entry] = store.entries("a")
    assert (entry.name, entry.bytes) == ("b", 7)
    store.write("a/b", [b"again"])
    assert store.read("a/b") == b"again"
    store.delete("a/b")
    store.delete("a/b")
    assert store.entries("a") == store.entries("nowhere") == []
    for lost in (store.read, lambda path: list(store.lines(path, 3)), lambda path: list(store.chunks(path))):
        with pytest.raises(NotFound):
            lost("a/b")


async def test_a_line_that_is_too_long_is_cut_and_those_behind_it_are_whole(store: FileStore) -> None:
    long = b"x" * (2 * CHUNK_BYTES)
    store.write("a", [b"one\n", b"four\n", long, b"\n\r\n", b"two\r\n", long])
    assert list(store.lines("a", 3)) == [b"one\n", b"four", b"xxxx", b"\r\n", b"two\r", b"xxxx"]


async def test_what_fails_while_it_is_written_leaves_no_file_and_keeps_the_old_one(store: FileStore) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise ValueError("the rest is lost")

    store.write("kept", [b"old"])
    for path in ("kept", "new"):
        with pytest.raises(ValueError, match="the rest is lost"):
            store.write(path, broken())
    assert store.read("kept") == b"old"
    with pytest.raises(NotFound):
        store.read("new")


async def test_a_full_disk_is_unavailable_and_keeps_the_old_file(tmp_path: Path) -> None:
    with mounted_disk(tmp_path / "disk", CHUNK_BYTES) as disk:
        store = FileStore(str(disk))
        store.write("f/a", [b"old"])
        with pytest.raises(Unavailable, match="No space left") as full:
            store.write("f/a", [bytes(CHUNK_BYTES)] * 2)
        assert full.value.reason == "FILE_STORE_UNAVAILABLE"
        assert store.read("f/a") == b"old"
        assert [entry.name for entry in store.entries("f")] == ["a"]


async def test_a_store_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("no folder")
    with pytest.raises(Unavailable, match="the file store fails"):
        FileStore(str(tmp_path)).write("f/a", [b"x"])


async def test_without_a_store_every_call_says_what_to_set() -> None:
    with pytest.raises(FailedPrecondition, match="TANDEM_FILES"):
        FileStore("").read("a")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def batching(redis_url: str, temporal_address: str, profiles_folder: Path, s3: str) -> AsyncIterator[System]:
    async with run_system("scripted", profiles_folder, redis_url, temporal_address, alias="batch", files=s3) as system:
        yield system


async def test_a_batch_lies_in_s3(batching: System) -> None:
    batch = await run(batching, plain(40), concurrency=16)
    answers = await read(batching, batch.output_file_id)
    assert batch.state == batch_pb2.BATCH_STATE_COMPLETED
    assert [line["id"] for line in answers] == [f"q{number}" for number in range(40)]
    keys = [each["Key"] for each in boto3.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="prefix/")["Contents"]]
    assert f"prefix/anonymous/files/{batch.output_file_id}" in keys
