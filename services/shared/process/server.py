"""The gRPC server of every process: health, reflection, limits, keepalive, errors, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import timedelta

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio  # type: ignore[attr-defined]  # made at import
from grpc_reflection.v1alpha import reflection

from services.shared.observability.tracing import server_interceptors
from services.shared.process.callers import NOBODY, CallCheck, Callers
from services.shared.process.ending import EndingInterceptor
from services.shared.process.interceptors import ErrorInterceptor, KnownError, SlowReaderInterceptor
from services.shared.process.start import address_of, require_bound
from services.shared.process.status import from_engine
from services.shared.process.transport import PLAIN, Transport
from tandem.errors import LOADING
from tandem.method.errors import Unavailable
from tandem.method.timeouts import Timeouts

logger = logging.getLogger(__name__)

_LIFE_SIGN_SECONDS = 1.0
_LOADING_SECONDS = 1.0
_CLOSE_SECONDS = 5.0  # from the end of the grace until gRPC cuts what has not taken its status
MESSAGE_LIMIT = 16 * 1024 * 1024
MOST_STREAMS = 1024
"""Of one connection; an HTTP gateway has one for all its callers (`MAX_CONNECTIONS`)."""
PING_TIMEOUT_MS = 10_000
"""While data flows gRPC measures bandwidth by pings of its own. Where one is under way as the peer falls silent,
keepalive waits for it, by default a minute.
"""
SERVER_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    ("grpc.max_send_message_length", MESSAGE_LIMIT),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", PING_TIMEOUT_MS),
    ("grpc.so_reuseport", 0),
    # A connection that says nothing, or has no calls, is closed. One that lasts is renewed within a minute: a client
    # looks the name up again only then, and finds new pods. Its calls may end.
    ("grpc.server_handshake_timeout_ms", 10_000),
    # gRPC holds a peer to its limit of metadata once that has acknowledged it: 16 KB of HPACK are 2.4 MB of headers
    # before.
    ("grpc.http2.settings_timeout", 5_000),
    ("grpc.max_concurrent_streams", MOST_STREAMS),
    ("grpc.max_connection_idle_ms", 300_000),
    ("grpc.max_connection_age_ms", 50_000),
    ("grpc.max_connection_age_grace_ms", int(Timeouts.client_deadline.total_seconds() * 1000) + 60_000),
)


class HealthPort:
    """Health in clear text, on a port that serves nothing else. Port 0: it does not listen. Raises SetupError where it
    is taken.

    Kubernetes' own probes have no certificate, and a program in the pod that has one would be a Python process for each
    probe.
    """

    def __init__(self, host: str, port: int, servicer: health_aio.HealthServicer) -> None:
        self._server: grpc.aio.Server | None = None
        if port:
            self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0), ("grpc.max_connection_idle_ms", 300_000)])
            health_pb2_grpc.add_HealthServicer_to_server(servicer, self._server)
            require_bound(address_of(host, port), self._server.add_insecure_port)

    async def start(self) -> None:
        if self._server:
            await self._server.start()

    async def stop(self) -> None:
        if self._server:
            await self._server.stop(0)


class Server:
    """A grpc.aio server that is alive at once and ready when `serving` is called; until then its calls are UNAVAILABLE.

    `checks` may refuse a call by its metadata. With certificates (`transport`), only `callers` may call. A message of
    more than `receive_limit` bytes is refused by gRPC; one up to it is in memory before `checks` are asked.
    `known_error` as in ErrorInterceptor.
    """

    def __init__(
        self, host: str, port: int, services: Sequence[str], checks: Sequence[CallCheck] = (), *,
        transport: Transport = PLAIN, callers: Callers = NOBODY, receive_limit: int = MESSAGE_LIMIT,
        known_error: KnownError = from_engine,
    ) -> None:  # fmt: skip
        self.services = tuple(services)
        self._host, self._transport = host, transport
        self._has_loaded = False
        errors = ErrorInterceptor(transport.guard(callers, [self._check_loaded, *checks]), known_error)
        self._ending, self.slow_readers = EndingInterceptor(), SlowReaderInterceptor()
        interceptors = [self._ending, self.slow_readers, *server_interceptors(), errors]
        self.grpc = grpc.aio.server(interceptors=interceptors, options=_options(receive_limit))
        self.port = transport.listen(self.grpc, address_of(host, port), is_public=callers.anyone)
        self._health = add_health(self.grpc)
        if callers.anyone or not transport.is_on:
            add_reflection(self.grpc, self.services)
        self._health_port = HealthPort(host, transport.health_port, self._health)

    def listen_for_processes(self, port: int) -> int:
        """A further port, which asks for a certificate where the first one does not. Before the start. Returns its
        number.
        """
        return self._transport.listen(self.grpc, address_of(self._host, port))

    async def start(self) -> None:
        await set_health(self._health, self.services, serving=False)
        await self._health_port.start()
        await self.grpc.start()

    async def serving(self) -> None:
        """Ready: the services' names report SERVING."""
        self._has_loaded = True
        await set_health(self._health, self.services, serving=True)

    async def not_serving(self) -> None:
        await set_health(self._health, self.services, serving=False)

    async def stop(self, grace: timedelta, pause: timedelta = timedelta(0)) -> None:
        """Stop the server: not ready first, then no new calls, then whatever still runs ends with SERVER_ENDS after
        `grace`.
        """
        await self._health.enter_graceful_shutdown()
        await asyncio.sleep(pause.total_seconds())
        await self._ending.accept_arrived()
        stopping = asyncio.create_task(self.grpc.stop(grace.total_seconds() + _CLOSE_SECONDS))
        await asyncio.wait({stopping}, timeout=grace.total_seconds())
        self._ending.end()
        await stopping
        await self._health_port.stop()

    async def _check_loaded(self, metadata: Mapping[str, str]) -> None:
        # Not every caller asks for the health first: a channel that was connected before a restart reconnects at once.
        if not self._has_loaded:
            raise Unavailable(
                "this process is still loading; its health turns to SERVING when it is ready",
                reason=LOADING, retry_after_s=_LOADING_SECONDS,
            )  # fmt: skip


def _options(receive_limit: int) -> list[tuple[str, int]]:
    return list({**dict(SERVER_OPTIONS), "grpc.max_receive_message_length": receive_limit}.items())


def add_health(server: grpc.aio.Server) -> health_aio.HealthServicer:
    servicer = health_aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    return servicer


def add_reflection(server: grpc.aio.Server, services: Sequence[str]) -> None:
    names = [*services, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME]
    reflection.enable_server_reflection(names, server)


async def set_health(servicer: health_aio.HealthServicer, services: Sequence[str], *, serving: bool) -> None:
    """Name "" means "the process is alive" and stays SERVING; a service's name means "ready for work"."""
    status = health_pb2.HealthCheckResponse
    await servicer.set("", status.SERVING)
    for name in services:
        await servicer.set(name, status.SERVING if serving else status.NOT_SERVING)


@contextlib.asynccontextmanager
async def termination() -> AsyncIterator[asyncio.Event]:
    """An event that SIGTERM or SIGINT sets."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def serve(
    server: Server,
    drain: timedelta,
    pause: timedelta,
    load: Callable[[], Awaitable[None]],
    drain_work: Callable[[], Awaitable[None]] | None = None,
    is_alive: Callable[[], bool] = lambda: True,
) -> None:
    """Run a process: alive, `load`, ready, wait for SIGTERM, drain, end.

    A failing `load` ends it with the error; when `is_alive` turns false it ends as on SIGTERM, with exit code 1.
    """
    async with termination() as stop:
        await server.start()
        try:
            await load()
            await server.serving()
            logger.info("ready on port %d", server.port)
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), _LIFE_SIGN_SECONDS)
                if not is_alive():
                    raise SystemExit("what this process serves has died; its log says why")
        finally:
            logger.info("draining")
            await server.not_serving()
            if drain_work is not None:
                await asyncio.sleep(pause.total_seconds())
                await drain_work()
                pause = timedelta(0)
            await server.stop(drain, pause)
