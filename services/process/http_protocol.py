"""HTTP/1.1 with bounds on a request's headers, in bytes and in time, which uvicorn's parser lacks."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEADER_BYTES = 64 * 2**10
HEADER_SECONDS = 30.0
"""How long a connection may take to send a request's headers, its first ones from when it was made."""


class BoundedProtocol(HttpToolsProtocol):
    """Answers 400 to headers of more than MAX_HEADER_BYTES as soon as so many came; closes a connection that is too slow."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._header_bytes, self._parsed_bytes, self._reads_headers = 0, 0, True
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # What came of headers that are not complete yet. A single one is held by the parser until it ends.
        self._header_bytes += len(data) if self._reads_headers else 0
        if self._header_bytes > MAX_HEADER_BYTES and not self.transport.is_closing():
            self.send_400_response(f"the request's headers have more than {MAX_HEADER_BYTES} bytes")

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
        self._end_deadline()
        super().on_headers_complete()

    def _expect_headers(self) -> None:
        self._header_bytes, self._parsed_bytes, self._reads_headers = 0, 0, True
        self._end_deadline()
        self._deadline = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def _end_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
