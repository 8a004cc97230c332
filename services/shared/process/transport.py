"""How a process is reached by the others and reaches them: in clear text, or by TLS with certificates on both sides."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.shared.process.callers import CallCheck, Callers, Guard
from services.shared.process.certificate import Certificate, CertificateError, CertificateFiles
from services.shared.process.service_channel import ServiceChannel
from services.shared.process.settings import read_settings
from services.shared.process.start import require_bound
from tandem.access.watched_file import WatchedFile

_CHANGE_PAUSE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Transport:
    """`certificate`: this process's; without one everything is in clear text. `trust_domain`: of its peers' SPIFFE ids.

    `health_port`: where health is told in clear text and without a certificate, for probes that have none; 0: nowhere.
    `is_public_encrypted`: whether a port that is open to anyone uses the certificate, too.
    """

    certificate: WatchedFile[Certificate] | None = None
    trust_domain: str = "tandem"
    health_port: int = 0
    is_public_encrypted: bool = True

    @property
    def is_on(self) -> bool:
        return self.certificate is not None

    def guard(self, callers: Callers, checks: Sequence[CallCheck] = ()) -> Guard:
        """Refuse a start without certificates: nobody can be told from anybody else: `callers` is not asked."""
        return Guard(checks, callers if self.is_on else None, self.trust_domain)

    def listen(self, server: grpc.aio.Server, address: str, *, is_public: bool = False) -> int:
        """Return the port. One that is not public asks for a certificate, and ends the connection of a peer that has
        none.

        Raises SetupError.
        """
        if self.certificate is None or (is_public and not self.is_public_encrypted):
            return require_bound(address, server.add_insecure_port)
        first = self.certificate.value
        credentials = grpc.dynamic_ssl_server_credentials(
            first.server_configuration(),
            certificate_changes(self.certificate, first),  # type: ignore[arg-type]  # None: no change
            require_client_authentication=not is_public,
        )
        return require_bound(address, lambda where: server.add_secure_port(where, credentials))

    def secured(self, open_channel: Callable[[Any], grpc.aio.Channel]) -> grpc.aio.Channel | None:
        """Return a channel that `open_channel` opens with credentials, which presents this process's certificate;
        None without one.
        """
        return ServiceChannel(lambda _, shown: open_channel(shown), self.certificate) if self.certificate else None


def certificate_changes(
    watched: WatchedFile[Certificate], given: Certificate
) -> Callable[[], grpc.ServerCertificateConfiguration | None]:
    """Return what gRPC asks at each connection: the configuration where the certificate is no longer the `given` one,
    else None.

    gRPC frees what it had as it takes a configuration, and a connection that another thread makes meanwhile may still
    use that, which ends the process. So it gets one at a change alone, after a pause in which gRPC lets no other
    connection begin.
    """

    def changed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal given
        if (found := watched.value) == given:
            return None
        given = found
        time.sleep(_CHANGE_PAUSE_SECONDS)
        return found.server_configuration()

    return changed


PLAIN = Transport()


class TransportSettings(BaseSettings):
    model_config = SettingsConfigDict(frozen=True, populate_by_name=True, extra="ignore", env_ignore_empty=True)

    certificate: Path | None = Field(
        None, validation_alias="TANDEM_TLS_CERT", description="PEM file of this process's certificate; none: clear text"
    )
    key: Path | None = Field(None, validation_alias="TANDEM_TLS_KEY", description="PEM file of its key")
    authorities: Path | None = Field(
        None, validation_alias="TANDEM_TLS_CA", description="PEM file of the authorities that sign for peers"
    )
    trust_domain: str = Field(
        "tandem",
        validation_alias="TANDEM_TLS_TRUST_DOMAIN",
        description="of the processes' identities, spiffe://DOMAIN/PROCESS",
        pattern=r"^[a-z0-9._-]+$",
    )
    is_public_encrypted: bool = Field(
        True,
        validation_alias="TANDEM_TLS_PUBLIC",
        description="TLS on the gateway's public port; false behind a proxy that speaks clear text to it",
    )
    health_port: int = Field(
        0,
        ge=0,
        le=65535,
        validation_alias="TANDEM_HEALTH_PORT",
        description="health without TLS, for probes; 0 serves none",
    )

    def transport(self) -> Transport:
        """Raises CertificateError for files that are incomplete, cannot be read or do not belong together."""
        return Transport(self._watched(), self.trust_domain, self.health_port, self.is_public_encrypted)

    def _watched(self) -> WatchedFile[Certificate] | None:
        if not (self.certificate or self.key or self.authorities):
            return None
        if not (self.certificate and self.key and self.authorities):
            raise CertificateError("set all of TANDEM_TLS_CERT, TANDEM_TLS_KEY and TANDEM_TLS_CA, or none of them")
        files = CertificateFiles(self.certificate, self.key, self.authorities)
        return WatchedFile(self.certificate, files.read, "the certificates", (self.key, self.authorities))


def own_transport() -> Transport:
    """This process's, from the environment. Raises CertificateError."""
    return read_settings(TransportSettings).transport()
