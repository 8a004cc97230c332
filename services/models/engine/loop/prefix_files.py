"""Keys and values of prompts in files, mapped into memory: the kernel reads what is used, and may forget it again."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from services.models.engine.loop.prefix_cache import KeysValues, PrefixCache

logger = logging.getLogger(__name__)
_MAX_HEADER_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class SavedPrefix:
    ids: tuple[int, ...]
    keys_values: KeysValues
    owner: str


class PrefixFiles:
    """In `folder`, which only this user may read, at most `max_bytes`, the most recently used. What a model of another
    `identity` saved is removed.

    A prefix is a header `NAME.json`, written last, and arrays `NAME.0.0.npy` and so on, as KeysValues has them. No link
    is followed, and what is written has a name of its own until it is whole.
    """

    def __init__(self, folder: Path, identity: str, max_bytes: int) -> None:
        """Raises OSError."""
        self._identity, self._max_bytes = identity, max_bytes
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        os.fchmod(self._folder, 0o700)

    def __del__(self) -> None:
        if hasattr(self, "_folder"):
            os.close(self._folder)

    def saved(self) -> Iterator[SavedPrefix]:
        """What was used last comes last. What cannot be read is dropped."""
        for name in self._files():
            try:
                prefix = self._read(name)
            except Exception as error:  # whatever stands in a file, the engine starts
                logger.warning("saved prefix %s is dropped: %s: %s", name, type(error).__name__, str(error)[:200])
                prefix = None
            if prefix is None:
                self._remove(name)
            else:
                yield prefix

    def save(self, ids: tuple[int, ...], keys_values: KeysValues, owner: str) -> KeysValues:
        """The same, from the file. Raises OSError, and then leaves no file."""
        name = hashlib.sha256(json.dumps([self._identity, owner, ids]).encode()).hexdigest()[:32]
        shape = [len(arrays) for arrays in keys_values]
        header = json.dumps({"identity": self._identity, "owner": owner, "ids": ids, "shape": shape}).encode()
        try:
            for layer, arrays in enumerate(keys_values):
                for part, array in enumerate(arrays):
                    self._write(name, f"{layer}.{part}.npy", partial(np.save, arr=np.asarray(array)))
            self._write(name, "json", lambda file: file.write(header))
            self._make_room(name)
            return self._mapped(name, shape)
        except OSError:
            self._remove(name)
            raise

    def _read(self, name: str) -> SavedPrefix | None:
        """None where another model saved it. Raises whatever its files give rise to."""
        with self._opened(f"{name}.json") as file:
            said = json.loads(file.read(_MAX_HEADER_BYTES))
        if said["identity"] != self._identity:
            return None
        return SavedPrefix(tuple(map(int, said["ids"])), self._mapped(name, said["shape"]), str(said["owner"]))

    def _mapped(self, name: str, shape: Sequence[int]) -> KeysValues:
        return [
            tuple(self._array(f"{name}.{layer}.{part}.npy") for part in range(parts))
            for layer, parts in enumerate(shape)
        ]

    def _array(self, name: str) -> np.memmap[Any, Any]:
        with self._opened(name) as file:
            np.lib.format.read_magic(file)
            shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
            if dtype.hasobject:
                raise ValueError("an array of objects")
            return np.memmap(file, dtype, "r", file.tell(), shape, "F" if is_fortran else "C")

    def _opened(self, name: str) -> IO[bytes]:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self._folder)
        file = os.fdopen(descriptor, "rb")
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            file.close()
            raise ValueError(f"{name} is no file")
        return file

    def _write(self, name: str, ending: str, write: Callable[[IO[bytes]], object]) -> None:
        unfinished = f".{name}.{secrets.token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(unfinished, flags, 0o600, dir_fd=self._folder), "wb") as file:
            write(file)
        os.replace(unfinished, f"{name}.{ending}", src_dir_fd=self._folder, dst_dir_fd=self._folder)

    def _make_room(self, newest: str) -> None:
        sizes = {name: sum(status.st_size for status in files.values()) for name, files in self._files().items()}
        for name in list(sizes):
            if sum(sizes.values()) <= self._max_bytes or name == newest:
                return
            self._remove(name)
            del sizes[name]

    def _files(self) -> dict[str, dict[str, os.stat_result]]:
        """All in the folder by the prefix that they belong to, finished or not: what was used last comes last, without
        a header first.
        """
        found: dict[str, dict[str, os.stat_result]] = {}
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    found.setdefault(entry.name.lstrip(".").partition(".")[0], {})[entry.name] = status
        used = {
            name: files[f"{name}.json"].st_mtime_ns if f"{name}.json" in files else 0 for name, files in found.items()
        }
        return {name: found[name] for name in sorted(found, key=lambda name: used[name])}

    def _remove(self, name: str) -> None:
        """The header first: without it there is no prefix. What is mapped stays readable."""
        for file in [f"{name}.json", *self._files().get(name, ())]:
            with suppress(OSError):
                os.unlink(file, dir_fd=self._folder)


class Beginnings(PrefixCache):
    """The tools that conversations begin with: their keys and values outlive the conversations, and with files the
    process.
    """

    def __init__(self, max_bytes: int) -> None:
        super().__init__(max_bytes)
        self._files: PrefixFiles | None = None

    def open(self, files: PrefixFiles) -> None:
        """Take in what a former process saved, and save from now on."""
        for prefix in files.saved():
            self.put(prefix.ids, prefix.keys_values, prefix.owner)
        self._files = files

    def has(self, ids: tuple[int, ...], owner: str) -> bool:
        return self.longest(ids, owner)[0] == len(ids)

    def put(self, ids: tuple[int, ...], keys_values: KeysValues, owner: str) -> None:
        """A disk that takes no more costs no request: what cannot be saved stays in memory."""
        if self._files:
            try:
                keys_values = self._files.save(ids, keys_values, owner)
            except OSError as error:
                logger.warning("tools cannot be kept in a file: %s", error)
        super().put(ids, keys_values, owner)
