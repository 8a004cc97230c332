"""Server-sent events of an endpoint that may send anything: the data of each, within bounds of bytes, lines and a
line's length.
"""

from __future__ import annotations

_LINE_BYTES = 1 << 20
"""Of a line, and of an event's data. A gateway that only pretends to stream sends a whole answer in one."""
_BYTES, _BYTES_PER_TOKEN = 1 << 20, 4096
_LINES, _LINES_PER_TOKEN = 4096, 16
_OTHER_FORMATS = (b"{", b"[", b"<")


class BadStream(Exception):
    """The bytes are no stream of events, or more than any honest answer needs; the message says which."""


class EventStream:
    """The stream of an answer of at most `most_tokens` tokens. `is_over`: OpenAI's last event has come, which is no
    data.
    """

    def __init__(self, most_tokens: int) -> None:
        self._most_bytes = _BYTES + _BYTES_PER_TOKEN * most_tokens
        self._most_lines = _LINES + _LINES_PER_TOKEN * most_tokens
        self._num_bytes = self._num_lines = 0
        self._rest, self._data = bytearray(), bytearray()
        self.is_over = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the data of each event that the chunk completes. Raises BadStream."""
        if not self._num_bytes and chunk.lstrip().startswith(_OTHER_FORMATS):
            raise BadStream("it sends no stream of events")
        self._num_bytes += len(chunk)
        if self._num_bytes > self._most_bytes:
            raise BadStream(f"its stream has more than {self._most_bytes} bytes")
        self._rest += chunk
        *lines, self._rest = self._rest.split(b"\n") if b"\n" in chunk else [self._rest]
        self._num_lines += len(lines)
        if self._num_lines > self._most_lines:
            raise BadStream(f"its stream has more than {self._most_lines} lines")
        events = [bytes(data) for line in lines if (data := self._read(line))]
        if max(len(self._rest), len(self._data)) > _LINE_BYTES:
            raise BadStream(f"an event of its stream has more than {_LINE_BYTES} bytes")
        return events

    def _read(self, line: bytearray) -> bytearray | None:
        """Return the event's data, where the line ends one that has any."""
        name, _, value = line.removesuffix(b"\r").partition(b":")
        if not name and not value:
            data, self._data = self._data, bytearray()
            return data if not self.is_over else None
        if name == b"data":
            self._data += (b"\n" if self._data else b"") + value.removeprefix(b" ")
            self.is_over = self.is_over or self._data.startswith(b"[DONE]")
        return None
