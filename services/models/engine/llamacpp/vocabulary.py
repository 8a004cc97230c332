"""What an engine needs of the vocabulary in a GGUF file, kept beside the file from the first start on.

The engine has a tokenizer of its own. llama.cpp takes half a second and 50 MB to read the same vocabulary once more,
and is asked only for its size and the tokens that end an answer. Where those are known, it is told that the file has no
vocabulary.
"""

from __future__ import annotations

import json
import os
import struct
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from services.models.engine.llamacpp.library import BUILD

_INTEGER, _TEXT = 0, 3  # of llama_model_kv_override_type
_KEY_BYTES = _VALUE_BYTES = 128


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """`architecture` is the file's; `ends` are the tokens after which llama.cpp's own server ends."""

    architecture: str
    size: int
    ends: list[int]


def read(gguf: Path) -> Vocabulary | None:
    """None where nothing is known of this file in this build of llama.cpp."""
    try:
        known = json.loads(_beside(gguf).read_text())
        return Vocabulary(**known["vocabulary"]) if known["of"] == identity(gguf) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write(gguf: Path, vocabulary: Vocabulary) -> None:
    """Does nothing where the folder cannot be written: each start reads the vocabulary there."""
    with suppress(OSError):
        descriptor, name = tempfile.mkstemp(dir=gguf.parent, prefix=".")
        with os.fdopen(descriptor, "w") as file:
            json.dump({"of": identity(gguf), "vocabulary": asdict(vocabulary)}, file)
        os.replace(name, _beside(gguf))


def overrides(vocabulary: Vocabulary) -> bytes:
    """llama_model_kv_override[3], whose last entry is empty: no vocabulary, but this many tokens."""
    size = struct.pack("<q", vocabulary.size)
    return (
        _entry(_TEXT, "tokenizer.ggml.model", b"no_vocab")
        + _entry(_INTEGER, f"{vocabulary.architecture}.vocab_size", size)
        + _entry(_INTEGER, "", b"")
    )


def _entry(kind: int, key: str, value: bytes) -> bytes:
    return struct.pack(f"<i{_KEY_BYTES}s4x{_VALUE_BYTES}s", kind, key.encode(), value)


def _beside(gguf: Path) -> Path:
    return gguf.with_name(f"{gguf.name}.vocabulary.json")


def identity(gguf: Path) -> list[object]:
    """What is computed from this file and kept holds for: the file, and this build of llama.cpp."""
    found = gguf.stat()
    return [BUILD, found.st_size, found.st_mtime_ns]
