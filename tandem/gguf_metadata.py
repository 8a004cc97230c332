"""What a GGUF file says of itself: the names and values before its weights (ggml's docs/gguf.md, versions 2 and 3).

The library `gguf` wraps each of 300,000 strings of a vocabulary in arrays, which takes 7 s of processor time a file;
this takes a third of a second.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any

_MAGIC, _VERSIONS = 0x46554747, (2, 3)
_STRING, _ARRAY = 8, 9
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


def read_metadata(gguf: Path) -> dict[str, Any]:
    """Numbers, strings, and lists of them, by name. Raises OSError for a file that is none, or ends too early."""
    try:
        with gguf.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _Reader(content).read()
    except (ValueError, KeyError, struct.error) as error:
        raise OSError(f"{gguf.name} is no readable GGUF file: {error}") from error


class _Reader:
    """Reads `content` from its beginning on. Its methods raise ValueError, KeyError or struct.error."""

    def __init__(self, content: mmap.mmap) -> None:
        self._content, self._at = content, 0

    def read(self) -> dict[str, Any]:
        magic, version, _, entries = self._numbers("IIQQ")
        if magic != _MAGIC or version not in _VERSIONS:
            raise ValueError(f"it begins with {magic:#010x}, version {version}")
        return {self._string(): self._value(*self._numbers("I")) for _ in range(entries)}

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            return self._list(*self._numbers("IQ"))
        return self._numbers(_NUMBERS[kind])[0]

    def _list(self, kind: int, length: int) -> list[Any]:
        if kind in _NUMBERS:
            return list(self._numbers(f"{length}{_NUMBERS[kind]}"))
        return [self._value(kind) for _ in range(length)]

    def _string(self) -> str:
        (length,) = self._numbers("Q")
        begin, self._at = self._at, self._at + length
        if self._at > len(self._content):
            raise ValueError("it ends within a text")
        return self._content[begin : self._at].decode()

    def _numbers(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from(f"<{form}", self._content, self._at)
        self._at += struct.calcsize(f"<{form}")
        return values
