"""The file store: a folder, or any store that fsspec knows, such as `s3://bucket/prefix`.

Calls block: they are made in threads. A file appears whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, cast
from uuid import uuid4

import fsspec
from fsspec.implementations.local import LocalFileSystem

from tandem.method.errors import FailedPrecondition, NotFound, Unavailable

CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a folder, by its name there."""

    name: str
    bytes: int
    modified_at: float


class FileStore:
    """`url` is a folder or a URL of fsspec; empty: there is none, and every call raises FailedPrecondition. A store
    that fails, as a full disk does, is Unavailable.

    A store's own settings come from its own variables, such as AWS_ENDPOINT_URL and AWS_ACCESS_KEY_ID.
    """

    def __init__(self, url: str) -> None:
        found: tuple[Any, str] = fsspec.url_to_fs(url, use_listings_cache=False) if url else (None, "")
        self._fs, self._root = found

    def require(self) -> None:
        """Raises FailedPrecondition where there is no store."""
        _ = self._store

    def write(self, path: str, chunks: Iterable[bytes]) -> int:
        """Return the number of bytes. What an iterator raises leaves no file."""
        fs, target = self._store, self._at(path)
        with _failure_is_unavailable():
            fs.makedirs(target.rpartition("/")[0], exist_ok=True)
            if isinstance(fs, LocalFileSystem):
                return _write_locally(Path(target), chunks)
            return _write(fs.open(target, "wb", autocommit=False), chunks)

    def read(self, path: str) -> bytes:
        """Raises NotFound."""
        try:
            with _failure_is_unavailable():
                return cast(bytes, self._store.cat_file(self._at(path)))
        except FileNotFoundError:
            raise _not_found(path) from None

    def chunks(self, path: str) -> Iterator[bytes]:
        """Yield the content, in pieces. Raises NotFound."""
        with _failure_is_unavailable(), self._open(path) as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def lines(self, path: str, most_bytes: int) -> Iterator[bytes]:
        """Yield the content, line by line, each with its end. Raises NotFound.

        A line of more than `most_bytes`, its end left out, is cut behind the first byte too many: none fills the
        memory.
        """
        line = bytearray()
        for chunk in self.chunks(path):
            for piece in BytesIO(chunk):  # ends at \n only, unlike `splitlines`
                line += piece[: most_bytes + 1 - len(line)]
                if piece.endswith(b"\n"):
                    yield bytes(line)
                    line.clear()
        if line:
            yield bytes(line)

    def size(self, path: str) -> int | None:
        """Return the size in bytes; None where there is no such file."""
        try:
            with _failure_is_unavailable():
                return int(self._store.size(self._at(path)))
        except FileNotFoundError:
            return None

    def entries(self, folder: str) -> list[Entry]:
        """Return the files in a folder, newest first; none where there is no such folder."""
        try:
            with _failure_is_unavailable():
                found = self._store.ls(self._at(folder), detail=True)
        except FileNotFoundError:
            return []
        entries = [
            Entry(str(f["name"]).rstrip("/").rpartition("/")[2], int(f["size"] or 0), _modified(f))
            for f in found
            if f["type"] == "file" and not _is_partial(str(f["name"]))
        ]
        return sorted(entries, key=lambda entry: (entry.modified_at, entry.name), reverse=True)

    def folders(self, folder: str) -> list[str]:
        """Names of the folders in a folder; "" is the store itself."""
        try:
            with _failure_is_unavailable():
                found = self._store.ls(self._at(folder).rstrip("/"), detail=True)
        except FileNotFoundError:
            return []
        return sorted(str(f["name"]).rstrip("/").rpartition("/")[2] for f in found if f["type"] == "directory")

    def delete_folder(self, folder: str) -> None:
        """Delete the folder with all that is in it."""
        with suppress(FileNotFoundError), _failure_is_unavailable():
            self._store.rm(self._at(folder), recursive=True)

    def delete(self, path: str) -> None:
        with suppress(FileNotFoundError), _failure_is_unavailable():
            self._store.rm_file(self._at(path))

    def _open(self, path: str) -> BinaryIO:
        try:
            return cast(BinaryIO, self._store.open(self._at(path), "rb"))
        except FileNotFoundError:
            raise _not_found(path) from None

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"

    @property
    def _store(self) -> Any:
        if self._fs is None:
            raise FailedPrecondition(
                "there is no file store here: set TANDEM_FILES to a folder or to s3://BUCKET/PREFIX, for gateway and "
                "worker",
                reason="NO_FILE_STORE",
            )
        return self._fs


@contextmanager
def _failure_is_unavailable() -> Iterator[None]:
    """Raises Unavailable for what the store cannot do now; a file that is not there stays FileNotFoundError."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Unavailable(
            f"the file store fails: {error.strerror or error}; ask again when it has room and can be reached",
            reason="FILE_STORE_UNAVAILABLE",
        ) from error


def _is_partial(name: str) -> bool:
    return name.rpartition("/")[2].startswith(".")


def _write(file: Any, chunks: Iterable[bytes]) -> int:
    """Write into a file of fsspec that appears when it is committed."""
    size = 0
    try:
        for chunk in chunks:
            size += file.write(chunk)
        file.close()
    except BaseException:
        with suppress(Exception):
            file.close()
        file.discard()
        raise
    file.commit()
    return size


def _write_locally(target: Path, chunks: Iterable[bytes]) -> int:
    """Write beside the target first: fsspec's own way is through the folder for temporary files, which may be on
    another disk.
    """
    partial = target.with_name(f".{target.name}.{uuid4().hex}")
    try:
        with partial.open("wb") as file:
            size = sum(map(file.write, chunks))
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return size


def _modified(found: dict[str, object]) -> float:
    """Each store calls it otherwise; a folder's is a number, S3's a time."""
    at = found.get("mtime") or found.get("LastModified") or found.get("created") or 0.0
    return at.timestamp() if hasattr(at, "timestamp") else float(cast(float, at))


def _not_found(path: str) -> NotFound:
    return NotFound(f"there is no file {path.rpartition('/')[2]!r}", reason="UNKNOWN_FILE")
