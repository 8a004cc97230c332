"""How every HTTP server of ours is set up: with bounds on a request's headers and body and on a client that does not
read.

uvicorn's protocol for HTTP/1.1 lacks these bounds.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEADER_BYTES = 64 * 2**10
HEADER_SECONDS = 30.0
"""How long a connection may take to send a request's headers, its first ones from when it was made."""
BODY_SECONDS = 30.0
"""How long a body may take from the end of its headers: until it is complete it fills memory, and keeps a place."""
BODY_STEP_BYTES = 2**20
"""A body that brought as much in BODY_SECONDS has as long again: an upload of 100 MiB may take its time, at 35 KB/s or
more.
"""
WRITE_SECONDS = 30.0
"""How long a client may take nothing of what waits for it; see ReaderWatch."""
SILENT_SECONDS = 1.0
"""How long a client may keep what it has to send, or have nothing to ask, where others need its connection."""
_ALWAYS_SERVED = b"/healthz"  # refused, a process that is busy would be taken for a dead one and killed
_TOO_SLOW = b"the request's body came too slowly"
_REQUEST_TIMEOUT = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n"
    b"connection: close\r\n\r\n%s" % (len(_TOO_SLOW), _TOO_SLOW)
)
_BYTES_ACKED = 120  # where Linux's struct tcp_info has tcpi_bytes_acked and tcpi_bytes_received, of 8 bytes each
_TCP_INFO_BYTES = _BYTES_ACKED + 16
_AT_ONCE = struct.pack("ii", 1, 0)  # of SO_LINGER: what waits is dropped, where the kernel would keep it for minutes
MAX_CONNECTIONS = 512
"""Twice as many as a gateway streams to at once, so that it is the gateway that refuses first, with its reasons; and
half of the files that a process may usually open.
"""


class BoundedProtocol(HttpToolsProtocol):
    """Answers 400 to headers of more than MAX_HEADER_BYTES as soon as so many came, and 408 to a body that is too slow.

    Closes a connection that is too slow with its headers, or does not read; and where there are as many as may be, the
    one from which nothing has come for longest, though it is its turn.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._header_bytes, self._parsed_bytes, self._reads_headers = 0, 0, True
        self._step_bytes = 0
        self.silent_since = self.loop.time()
        self._deadline: asyncio.TimerHandle | None = None
        self._reader: ReaderWatch

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._reader = ReaderWatch(transport, self.loop, WRITE_SECONDS)
        self._expect_headers()
        _make_room(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_deadline()
        self._reader.end()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self.silent_since = self.loop.time()
        super().data_received(data)
        # What came of headers that are not complete yet. A single one is held by the parser until it ends.
        self._header_bytes += len(data) if self._reads_headers else 0
        if self._header_bytes > MAX_HEADER_BYTES and not self.transport.is_closing():
            self.send_400_response(f"the request's headers have more than {MAX_HEADER_BYTES} bytes")
        if self._deadline is None and self.cycle and self.cycle.response_complete and not self.transport.is_closing():
            self._expect_headers()  # an empty line between two requests has ended the time for keeping alive

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expect_headers()

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._parsed_bytes += len(name) + len(value)
        if self._parsed_bytes > MAX_HEADER_BYTES:
            raise ValueError("too many headers")  # the parser ends the connection with 400

    def on_headers_complete(self) -> None:
        self._reads_headers, self._header_bytes = False, 0
        has_room = _make_room(self) or self.url == _ALWAYS_SERVED
        self.limit_concurrency = None if has_room else self.config.limit_concurrency
        self._expect_body()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._step_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._end_deadline()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self.silent_since = self.loop.time()
        super().on_response_complete()

    def _expect_headers(self) -> None:
        self._header_bytes, self._parsed_bytes, self._reads_headers = 0, 0, True
        self._begin_deadline(HEADER_SECONDS, self.transport.close)

    def _expect_body(self) -> None:
        self._step_bytes = 0
        self._begin_deadline(BODY_SECONDS, self._check_body)

    def _check_body(self) -> None:
        self._deadline = None
        cycle = self.cycle
        is_replied = cycle is None or cycle.response_complete
        # What this process does not read is not late: the request waits for the reply to the one before it, or for its
        # handler.
        if not is_replied and (self._step_bytes >= BODY_STEP_BYTES or self.flow.read_paused):
            self._expect_body()
            return
        if not (is_replied or cycle.response_started or self.pipeline):
            self.transport.write(_REQUEST_TIMEOUT)
        self.transport.close()

    def _begin_deadline(self, seconds: float, late: Callable[[], None]) -> None:
        self._end_deadline()
        self._deadline = self.loop.call_later(seconds, late)

    def _end_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _make_room(asking: BoundedProtocol) -> bool:
    """Tell whether one more request may be served, if need be after a silent connection is closed."""
    most = asking.config.limit_concurrency
    if most is None or len(asking.connections) < most:
        return True
    here = [
        each for each in asking.connections if isinstance(each, BoundedProtocol) and not each.transport.is_closing()
    ]
    latest = asking.loop.time() - SILENT_SECONDS
    silent = [each for each in here if each is not asking and _is_awaited(each) and each.silent_since <= latest]
    silent.sort(key=lambda each: each.silent_since)
    for each in silent[: max(0, len(here) - most + 1)]:
        each.transport.close()
        here.remove(each)
    return len(here) < most and len(asking.tasks) < most


def _is_awaited(connection: BoundedProtocol) -> bool:
    """It is the client's turn: to ask, or to send the rest of a body that is read here."""
    cycle = connection.cycle
    if cycle is None or cycle.response_complete:
        return True
    return bool(cycle.more_body) and not connection.flow.read_paused


class ReaderWatch:
    """Aborts a connection whose client took no byte for `seconds` while some waited for it, in this process or in the
    kernel.

    It looks every `seconds`, so it takes up to twice as long. Neither of the usual means tells a slow reader from one
    that does not read: a transport's pause begins when the kernel has taken megabytes, and lasts until a third of them
    has gone; TCP_USER_TIMEOUT has ended connections that took 160 KB a second (Linux 6.18). It is Linux that tells how
    much a client took; elsewhere, on a developer's machine, nothing is watched.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._transport, self._loop, self._seconds = transport, loop, seconds
        self._socket = transport.get_extra_info("socket")
        self._waited = False
        self._taken: int | None = None
        self._timer = self._later() if hasattr(socket, "TCP_INFO") else None

    def end(self) -> None:
        """The connection is lost."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        waits, taken = self._waiting_bytes() > 0, self._taken_bytes()
        if waits and self._waited and taken is not None and taken == self._taken:
            self._timer = None
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            self._transport.abort()  # closing would wait until the client has read the rest
            return
        self._waited, self._taken = waits, taken
        self._timer = self._later()

    def _later(self) -> asyncio.TimerHandle:
        return self._loop.call_later(self._seconds, self._look)

    def _waiting_bytes(self) -> int:
        unacknowledged = fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, bytes(4))
        return self._transport.get_write_buffer_size() + int(struct.unpack("=i", unacknowledged)[0])

    def _taken_bytes(self) -> int | None:
        """Return the bytes taken since the connection was made; None where the kernel counts none, not even those of
        the request that is replied to.
        """
        known = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        acked, received = struct.unpack_from("=QQ", known, _BYTES_ACKED)
        return int(acked) if received else None


def http_config(
    app: ASGIApp, host: str, port: int, max_connections: int = MAX_CONNECTIONS, **more: Any
) -> uvicorn.Config:
    """uvicorn's settings: bounds on requests and readers, and logs that are the process's own.

    A request gets 503 while there are `max_connections`, none of which can be closed.
    """
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=BoundedProtocol,
        limit_concurrency=max_connections,
        log_config=None,
        access_log=False,
        **more,
    )


class HttpServer(uvicorn.Server):
    """Signals are ours: readiness ends before the port closes."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
