"""A client that takes nothing of what waits for it is cut off: its request holds models and a place that others wait for."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios

_BYTES_ACKED = 120  # where Linux's struct tcp_info has tcpi_bytes_acked and tcpi_bytes_received, of 8 bytes each
_TCP_INFO_BYTES = _BYTES_ACKED + 16
_AT_ONCE = struct.pack("ii", 1, 0)  # of SO_LINGER: what waits is dropped, where the kernel would keep it for minutes


class ReaderWatch:
    """Aborts a connection whose client took no byte for `seconds` while some waited for it, in this process or in the kernel.

    It looks every `seconds`, so it takes up to twice as long. Neither of the usual means tells a slow reader from one that does
    not read: a transport's pause begins when the kernel has taken megabytes, and lasts until a third of them has gone;
    TCP_USER_TIMEOUT has ended connections that took 160 KB a second (Linux 6.18). It is Linux that tells how much a client
    took; elsewhere, on a developer's machine, nothing is watched.
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
        """Since the connection was made; None where the kernel counts none, not even those of the request that is replied to."""
        known = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        acked, received = struct.unpack_from("=QQ", known, _BYTES_ACKED)
        return int(acked) if received else None
