"""Redis over TLS with certificates and a password from files. The packaged servers speak no TLS: a proxy speaks it for
them.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from services.shared.request_log.log import RequestLog
from services.shared.request_log.servers import Access, Certificates, Login
from tandem.local.certificates import Authority
from tandem.method.errors import Unavailable
from tests.certificates import issue
from tests.integration.conftest import TTL
from tests.integration.redis.servers import call, run_server_with_users

pytestmark = pytest.mark.asyncio(loop_scope="session")


@contextlib.asynccontextmanager
async def tls_proxy(own: Certificates, port: int) -> AsyncIterator[int]:
    """Asks for a client's certificate, and passes bytes on to `port`."""

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        other_reader, other_writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(OSError):
            await asyncio.gather(copy(reader, other_writer), copy(other_reader, writer))

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    assert own.certificate
    context.load_cert_chain(own.certificate, own.key)
    context.load_verify_locations(own.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    server = await asyncio.start_server(pass_on, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


def certificates(folder: Path, authority: Authority, name: str) -> Certificates:
    return Certificates(*(issue(folder, authority, name).folder / file for file in ("ca.crt", "tls.crt", "tls.key")))


@pytest_asyncio.fixture(loop_scope="session")
async def entry(tmp_path: Path) -> AsyncIterator[tuple[int, str, Access]]:
    """The plain port of a Redis with the user `me`, a URL over TLS, and how it is entered."""
    password, authority = tmp_path / "password", Authority()
    password.write_text("first\n")
    lines = ["user me on >first ~* +@all", "user default off"]
    with run_server_with_users(tmp_path, lambda _: lines) as port:
        async with tls_proxy(certificates(tmp_path, authority, "server"), port) as tls:
            client = certificates(tmp_path, authority, "client")
            access = Access(Login("me", password_file=password), certificates=client)
            yield port, f"rediss://127.0.0.1:{tls}/0", access


async def answers(url: str, access: Access) -> bool:
    log = RequestLog(url, TTL, access)
    try:
        await log.ping()
    except Unavailable:
        return False
    finally:
        await log.close()
    return True


async def test_redis_is_entered_with_certificate_user_and_password(entry: tuple[int, str, Access]) -> None:
    _, url, access = entry
    assert await answers(url, access)


async def test_without_the_right_files_redis_is_unavailable(
    entry: tuple[int, str, Access], tmp_path_factory: pytest.TempPathFactory
) -> None:
    _, url, access = entry
    ours, theirs = access.certificates, certificates(tmp_path_factory.mktemp("stranger"), Authority(), "client")
    assert not await answers(url, replace(access, certificates=replace(ours, ca=None)))
    assert not await answers(url, replace(access, certificates=replace(ours, ca=theirs.ca)))
    assert not await answers(url, replace(access, certificates=replace(theirs, ca=ours.ca)))
    assert not await answers(url, replace(access, login=Login("me", "guessed")))
    assert not await answers(url, replace(access, login=Login()))


async def test_a_changed_password_counts_from_the_next_connection_on(entry: tuple[int, str, Access]) -> None:
    port, url, access = entry
    log = RequestLog(url, TTL, access)
    await log.ping()
    tester = {"username": "tester", "password": "tester"}
    call(port, "ACL", "SETUSER", "me", "resetpass", ">second", **tester)
    assert access.login.password_file
    access.login.password_file.write_text("second\n")
    call(port, "CLIENT", "KILL", "USER", "me", **tester)
    with contextlib.suppress(Unavailable):  # the connection that is gone
        await log.ping()
    await log.ping()
    await log.close()
