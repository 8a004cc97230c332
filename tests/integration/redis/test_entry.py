"""Redis over TLS with certificates and a password from files. The packaged servers speak no TLS: a proxy speaks it for them."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from services.request_log.log import RequestLog
from services.request_log.servers import Access, Certificates, Login
from tandem.method.errors import Unavailable
from tests.integration.conftest import TTL
from tests.integration.redis.servers import call, run_server_with_users

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Authority:
    """A certificate authority whose certificates are files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, folder.name)])
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        self.file = self._write("ca", self._certificate(self._name, self._key.public_key(), constraints))

    def issue(self, name: str) -> tuple[Path, Path]:
        """Certificate and key of 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        certificate = self._write(name, self._certificate(subject, key.public_key(), address))
        file = self._folder / f"{name}.key"
        pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
        file.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
        return certificate, file

    def _certificate(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, extension: x509.ExtensionType
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key)
        builder = builder.serial_number(x509.random_serial_number()).add_extension(extension, critical=False)
        builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
        return builder.sign(self._key, hashes.SHA256())

    def _write(self, name: str, certificate: x509.Certificate) -> Path:
        file = self._folder / f"{name}.pem"
        file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return file


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@contextlib.asynccontextmanager
async def tls_proxy(authority: Authority, port: int) -> AsyncIterator[int]:
    """Asks for a client's certificate, and passes bytes on to `port`."""

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        other_reader, other_writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(OSError):
            await asyncio.gather(copy(reader, other_writer), copy(other_reader, writer))

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("server"))
    context.load_verify_locations(authority.file)
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


@pytest_asyncio.fixture(loop_scope="session")
async def entry(authority: Authority, tmp_path: Path) -> AsyncIterator[tuple[int, str, Access]]:
    """The plain port of a Redis with the user `me`, a URL over TLS, and how it is entered."""
    password, client = tmp_path / "password", authority.issue("client")
    password.write_text("first\n")
    lines = ["user me on >first ~* +@all", "user default off"]
    with run_server_with_users(tmp_path, lambda _: lines) as port:
        async with tls_proxy(authority, port) as tls:
            access = Access(Login("me", password_file=password), certificates=Certificates(authority.file, *client))
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
    stranger = Authority(tmp_path_factory.mktemp("stranger"))
    ours = access.certificates
    assert not await answers(url, replace(access, certificates=replace(ours, ca=None)))
    assert not await answers(url, replace(access, certificates=replace(ours, ca=stranger.file)))
    assert not await answers(url, replace(access, certificates=Certificates(ours.ca, *stranger.issue("client"))))
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
