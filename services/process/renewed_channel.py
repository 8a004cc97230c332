"""A client channel that presents the certificate as it is now.

A channel of gRPC keeps the certificate that it was made with, so a changed one needs another channel. Calls in flight end on
the channel that they began on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc

from services.process.certificate import Certificate
from tandem.watched_file import WatchedFile

OpenChannel = Callable[[grpc.ChannelCredentials], grpc.aio.Channel]


class RenewedChannel(grpc.aio.Channel):
    """Opens a channel with `open_channel`, and another one when `certificate` has changed at the next call.

    Raises what `open_channel` raises.
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
