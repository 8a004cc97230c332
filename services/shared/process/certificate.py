"""The certificate with which a process proves who it is.

PEM files, as cert-manager writes them into a secret.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from services.shared.observability.availability import export_certificate_end
from tandem.errors import SetupError

_READS = 3


class CertificateError(SetupError):
    """The files of a certificate are not there, or do not belong together."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM texts: the certificate with what leads to its authority, its key, and the authorities that sign for peers."""

    chain: bytes
    key: bytes
    authorities: bytes

    def channel_credentials(self) -> grpc.ChannelCredentials:
        return grpc.ssl_channel_credentials(self.authorities, self.key, self.chain)

    def server_configuration(self) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([(self.key, self.chain)], self.authorities)


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    chain: Path
    key: Path
    authorities: Path

    def read(self) -> Certificate:
        """Raises CertificateError."""
        for _ in range(_READS):
            found = self._read()
            if found == self._read():  # they may be replaced while they are read, one after the other
                break
        self._check()
        export_certificate_end("own", found.chain)
        return found

    def _read(self) -> Certificate:
        try:
            return Certificate(self.chain.read_bytes(), self.key.read_bytes(), self.authorities.read_bytes())
        except OSError as error:
            raise CertificateError(f"{error.filename}: {error.strerror}") from error

    def _check(self) -> None:
        """gRPC itself would say nothing but that no connection can be made."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.chain, self.key, password=_no_password)
        except OSError as error:  # ssl.SSLError is one
            raise CertificateError(
                f"{self.chain} is no certificate in PEM with the key of {self.key} ({_reason(error)})"
            ) from error
        try:
            context.load_verify_locations(self.authorities)
        except OSError as error:
            raise CertificateError(f"{self.authorities} holds no certificates in PEM ({_reason(error)})") from error


def _reason(error: OSError) -> str:
    return getattr(error, "reason", "") or str(error)


def _no_password() -> str:
    """OpenSSL would ask for it at the terminal."""
    raise CertificateError("the key is encrypted: give one without a password")
