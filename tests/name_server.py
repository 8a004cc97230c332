"""A small DNS server on a free port of the loopback, for `dns://127.0.0.1:PORT/any.name:PORT`: it knows whatever a test
tells it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

_IPV4, _INTERNET = 1, 1
_ANSWERED = 0x8580


class NameServer(asyncio.DatagramProtocol):
    """Each name has the `addresses`, of IPv4."""

    def __init__(self, *addresses: str) -> None:
        self.addresses: tuple[str, ...] = addresses

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, peer: Any) -> None:
        question = data[12 : data.index(b"\0", 12) + 5]
        (kind,) = struct.unpack("!H", question[-4:-2])
        found = self.addresses if kind == _IPV4 else ()
        reply = data[:2] + struct.pack("!HHHHH", _ANSWERED, 1, len(found), 0, 0) + question
        for address in found:
            reply += b"\xc0\x0c" + struct.pack("!HHIH", _IPV4, _INTERNET, 0, 4) + socket.inet_aton(address)
        self._transport.sendto(reply, peer)


@contextlib.asynccontextmanager
async def name_server(*addresses: str) -> AsyncIterator[NameServer]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(lambda: NameServer(*addresses), local_addr=("127.0.0.1", 0))
    try:
        yield server
    finally:
        transport.close()
