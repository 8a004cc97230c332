"""Certificates of the local stack: an authority that signs one for each process and is then forgotten, so nobody can
add one.

With TLS each process is a user of its own in the stack's Redis, by a password made for this run. Redis itself stays
without TLS on loopback. The passwords lie beside the certificates, and go with them.
"""

from __future__ import annotations

import ipaddress
import re
import shutil
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tandem.access.redis_users import USERS, acl_lines, passwords_in, user_of
from tandem.local.layout import StackError

PROBE = "probe"
"""Who asks for the health of the others: it may call nothing else."""
_VALID = timedelta(days=365)
_CHAIN, _KEY, _AUTHORITIES = "tls.crt", "tls.key", "ca.crt"  # as cert-manager names them
_SIGNS = x509.KeyUsage(
    key_cert_sign=True, crl_sign=True, digital_signature=False, content_commitment=False, key_encipherment=False,
    data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
)  # fmt: skip
_VERSION = re.compile(r"\bv=(\d+)")
_USERS = frozenset(user.process for user in USERS)
_SECONDS = 10.0


class Authority:
    """A certificate authority, in memory."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Tandem, local stack")])
        self._certificate = (
            _signable(name, name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_SIGNS, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def _identifier(self) -> x509.AuthorityKeyIdentifier:
        """Tells this authority from another one of the same name."""
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())

    @property
    def pem(self) -> bytes:
        return self._certificate.public_bytes(Encoding.PEM)

    def issue(self, process: str, hosts: Iterable[str] = ("localhost", "127.0.0.1")) -> tuple[bytes, bytes]:
        """Certificate and key, in PEM, of a process that is called at these names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        identity = x509.UniformResourceIdentifier(f"spiffe://tandem/{process}")
        names = x509.SubjectAlternativeName([identity, *map(_host_name, hosts)])
        usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        certificate = (
            _signable(x509.Name([]), self._certificate.subject, key.public_key())
            .add_extension(names, critical=True)
            .add_extension(usages, critical=False)
            .add_extension(self._identifier, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return certificate.public_bytes(Encoding.PEM), text


def write_certificates(folder: Path, processes: Iterable[str]) -> None:
    """New ones in `folder`, for this user alone; what was there is deleted."""
    shutil.rmtree(folder, ignore_errors=True)
    authority = Authority()
    folder.mkdir(mode=0o700, parents=True)
    _write(authority_file(folder), authority.pem)
    for process in (*processes, PROBE):
        (folder / process).mkdir(mode=0o700)
        chain, key = authority.issue(process)
        for file, text in zip(_files(folder, process), (chain, key, authority.pem), strict=True):
            _write(file, text)


def authority_file(folder: Path) -> Path:
    return folder / _AUTHORITIES


def certificate_environment(folder: Path, process: str) -> dict[str, str]:
    """Return what tells `process` where its certificate is."""
    names = ("TANDEM_TLS_CERT", "TANDEM_TLS_KEY", "TANDEM_TLS_CA")
    return {name: str(file) for name, file in zip(names, _files(folder, process), strict=True)}


def probe_credentials(folder: Path) -> grpc.ChannelCredentials:
    chain, key, authorities = (file.read_bytes() for file in _files(folder, PROBE))
    return grpc.ssl_channel_credentials(authorities, key, chain)


def _files(folder: Path, process: str) -> tuple[Path, Path, Path]:
    return folder / process / _CHAIN, folder / process / _KEY, folder / process / _AUTHORITIES


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(file: Path, text: bytes) -> None:
    file.touch(mode=0o600)
    file.write_bytes(text)


def _signable(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=now - timedelta(hours=1),  # clocks in a container may lag
        not_valid_after=now + _VALID,
    )


def acl_file(folder: Path) -> Path:
    """Return the path of the ACL file in the folder of the certificates."""
    return folder / "redis.acl"


def write_access(folder: Path, redis_server: Path) -> None:
    """New passwords and Redis's file of users, for this user alone. Raises StackError."""
    lines = acl_lines(passwords_in(_passwords(folder)), _major_version(redis_server))
    file = acl_file(folder)
    file.touch(mode=0o600)
    file.write_text("\n".join(lines) + "\n")


def access_environment(folder: Path, process: str) -> dict[str, str]:
    """Return what tells `process` its user and password; empty for one that does not use Redis."""
    if process not in _USERS:
        return {}
    return {
        "REDIS_USERNAME": user_of(process).name,
        "REDIS_PASSWORD": "",
        "REDIS_PASSWORD_FILE": str(_passwords(folder) / process),
    }


def _passwords(folder: Path) -> Path:
    return folder / "redis-passwords"


def _major_version(redis_server: Path) -> int:
    try:
        said = subprocess.run([str(redis_server), "--version"], capture_output=True, text=True, timeout=_SECONDS).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StackError(f"{redis_server} does not say its version: {error}") from error
    if (found := _VERSION.search(said)) is None:
        raise StackError(f"{redis_server} says no version: {said!r}")
    return int(found[1])
