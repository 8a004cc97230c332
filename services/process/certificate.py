"""The certificate with which a process proves who it is, and channels that present the newest one.

PEM files, as cert-manager writes them into a secret.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from services.observability.availability import export_certificate_end
from tandem.errors import SetupError
from tandem.watched_file import WatchedFile

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


OpenChannel = Callable[[grpc.ChannelCredentials], grpc.aio.Channel]


class RenewedChannel(grpc.aio.Channel):
    """Opens a channel with `open_channel`, and another one when `certificate` has changed at the next call.

    A channel of gRPC keeps the certificate that it was made with, so a changed one needs another channel. Calls in flight end on the
    channel that they began on. Raises what `open_channel` raises.
    """

    def __init__(self, certificate: WatchedFile[Certificate], open_channel: OpenChannel) -> None:
        self._certificate, self._open = certificate, open_channel
        self._retired: list[_Opened] = []
        self._opened = self._open_now(certificate.value)

    async def __aenter__(self) -> RenewedChannel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close(None)

    async def close(self, grace: float | None = None) -> None:
        """Calls in flight are cancelled after `grace` seconds; at once without."""
        for opened in (*self._retired, self._opened):
            await opened.channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._now().channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._now().channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._now().channel.channel_ready()

    def unary_unary(self, *method: Any, **options: Any) -> Any:
        return self._method("unary_unary", method, options)

    def unary_stream(self, *method: Any, **options: Any) -> Any:
        return self._method("unary_stream", method, options)

    def stream_unary(self, *method: Any, **options: Any) -> Any:
        return self._method("stream_unary", method, options)

    def stream_stream(self, *method: Any, **options: Any) -> Any:
        return self._method("stream_stream", method, options)

    def _method(self, kind: str, method: Any, options: Any) -> Callable[..., Any]:
        """What a stub keeps of a method, for as long as it lives: each call finds the channel of its moment."""
        key = (kind, method[0])

        def call(*arguments: Any, **named: Any) -> Any:
            opened = self._now()
            if key not in opened.methods:
                opened.methods[key] = getattr(opened.channel, kind)(*method, **options)
            return opened.hold(opened.methods[key](*arguments, **named))

        return call

    def _now(self) -> _Opened:
        certificate = self._certificate.value
        if certificate != self._opened.certificate:
            self._retired = [*(opened for opened in self._retired if not opened.is_closed), self._opened]
            self._opened.retire()
            self._opened = self._open_now(certificate)
        return self._opened

    def _open_now(self, certificate: Certificate) -> _Opened:
        return _Opened(certificate, self._open(certificate.channel_credentials()))


class _Opened:
    """A channel with its certificate. Once retired, it is closed when the last of its calls has ended."""

    def __init__(self, certificate: Certificate, channel: grpc.aio.Channel) -> None:
        self.certificate, self.channel = certificate, channel
        self.methods: dict[tuple[str, str], Callable[..., Any]] = {}
        self._loop = asyncio.get_running_loop()
        self._num_calls = 0
        self._is_retired = False
        self._closing: asyncio.Task[None] | None = None

    @property
    def is_closed(self) -> bool:
        return self._closing is not None and self._closing.done()

    def hold(self, call: Any) -> Any:
        self._num_calls += 1
        call.add_done_callback(self._release)
        return call

    def retire(self) -> None:
        self._is_retired = True
        self._close_if_unused()

    def _release(self, _: object) -> None:
        self._num_calls -= 1
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._is_retired and not (self._num_calls or self._closing or self._loop.is_closed()):
            self._closing = self._loop.create_task(self.channel.close(None))
