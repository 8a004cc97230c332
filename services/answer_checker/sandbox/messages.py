"""Messages between the processes of a check: JSON with its length before it. What a reader accepts is bounded."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

MESSAGE_BYTES = 4 << 20
_HEADER_BYTES = 4


class BadMessage(Exception):
    """The other side sent something that is no message, or too much."""


class Channel:
    """One end of a socket, for a process that waits for what it reads."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream

    def send(self, message: Any) -> None:
        """Raises OSError where the other end is closed, and BadMessage for more than MESSAGE_BYTES."""
        self._stream.sendall(encode(message))

    def receive(self) -> Any:
        """The next message; None where the other end is closed. Raises BadMessage."""
        header = self._read(_HEADER_BYTES)
        body = self._read(_length(header)) if header else b""
        return _decode(body) if body else None

    def close(self) -> None:
        self._stream.close()

    def _read(self, size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            try:
                part = self._stream.recv(size - len(found))
            except ConnectionResetError:
                return b""
            if not part:
                return b""
            found += part
        return bytes(found)


async def send(stream: socket.socket, message: Any) -> None:
    """`Channel.send`, for an event loop and a socket that does not block."""
    await asyncio.get_running_loop().sock_sendall(stream, encode(message))


async def receive(stream: socket.socket) -> Any:
    """`Channel.receive`, for an event loop and a socket that does not block."""
    header = await _receive_bytes(stream, _HEADER_BYTES)
    body = await _receive_bytes(stream, _length(header)) if header else b""
    return _decode(body) if body else None


def encode(message: Any) -> bytes:
    """A message as it is sent. Raises BadMessage for more than MESSAGE_BYTES."""
    body = json.dumps(message).encode()
    if len(body) > MESSAGE_BYTES:
        raise BadMessage(f"a message of {len(body)} bytes")
    return len(body).to_bytes(_HEADER_BYTES, "big") + body


def _length(header: bytes) -> int:
    length = int.from_bytes(header, "big")
    if length > MESSAGE_BYTES:
        raise BadMessage(f"a message of {length} bytes")
    return length


def _decode(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadMessage(str(error)) from None


async def _receive_bytes(stream: socket.socket, size: int) -> bytes:
    loop, found = asyncio.get_running_loop(), bytearray()
    while len(found) < size:
        try:
            part = await loop.sock_recv(stream, size - len(found))
        except ConnectionResetError:
            return b""
        if not part:
            return b""
        found += part
    return bytes(found)
