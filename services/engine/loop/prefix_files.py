"""Keys and values of prompts in files, mapped into memory: the kernel reads what is used, and may forget it again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from services.engine.loop.prefix_cache import KeysValues


@dataclass(frozen=True, slots=True)
class SavedPrefix:
    ids: tuple[int, ...]
    keys_values: KeysValues
    owner: str


class PrefixFiles:
    """In `folder`, which only this user may read, at most `max_bytes`, the most recently used. What a model of another `identity` saved
    is removed.

    A prefix is a header `NAME.json`, written last, and arrays `NAME.0.0.npy` and so on, as KeysValues has them.
    """

    def __init__(self, folder: Path, identity: str, max_bytes: int) -> None:
        """Raises OSError."""
        self._folder, self._identity, self._max_bytes = folder, identity, max_bytes
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)

    def saved(self) -> Iterator[SavedPrefix]:
        """What was used last comes last. A file that cannot be read is none."""
        for header in self._headers():
            try:
                told = json.loads(header.read_text())
                if told["identity"] == self._identity:
                    yield SavedPrefix(tuple(told["ids"]), self._mapped(header.stem, told["shape"]), told["owner"])
                    continue
            except (OSError, ValueError, KeyError, TypeError):
                pass
            self._remove(header.stem)

    def save(self, ids: tuple[int, ...], keys_values: KeysValues, owner: str) -> KeysValues:
        """The same, from the file. Raises OSError."""
        name = hashlib.sha256(json.dumps([self._identity, owner, ids]).encode()).hexdigest()[:32]
        shape = [len(arrays) for arrays in keys_values]
        for layer, arrays in enumerate(keys_values):
            for part, array in enumerate(arrays):
                np.save(self._array(name, layer, part), np.asarray(array))
        header = {"identity": self._identity, "owner": owner, "ids": ids, "shape": shape}
        unfinished = self._folder / f".{name}"
        unfinished.write_text(json.dumps(header))
        os.replace(unfinished, self._folder / f"{name}.json")
        self._make_room(name)
        return self._mapped(name, shape)

    def _mapped(self, name: str, shape: Sequence[int]) -> KeysValues:
        return [
            tuple(np.load(self._array(name, layer, part), mmap_mode="r") for part in range(parts))
            for layer, parts in enumerate(shape)
        ]

    def _make_room(self, newest: str) -> None:
        names = [header.stem for header in self._headers()]
        sizes = {name: sum(file.stat().st_size for file in self._folder.glob(f"{name}.*")) for name in names}
        for name in names:
            if sum(sizes.values()) <= self._max_bytes or name == newest:
                return
            self._remove(name)
            del sizes[name]

    def _headers(self) -> list[Path]:
        return sorted(self._folder.glob("*.json"), key=lambda header: header.stat().st_mtime_ns)

    def _array(self, name: str, layer: int, part: int) -> Path:
        return self._folder / f"{name}.{layer}.{part}.npy"

    def _remove(self, name: str) -> None:
        """The header first: without it there is no prefix. What is mapped stays readable."""
        for file in [self._folder / f"{name}.json", *self._folder.glob(f"{name}.*")]:
            with suppress(OSError):
                file.unlink()
