"""Files of a tenant: stored, listed, read, deleted."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator
from uuid import uuid4

from services.batches.lines import MOST_BYTES as MOST_LINE_BYTES
from services.batches.owners import Owned
from services.file_store import paths
from services.file_store.records import BATCH, FileRecord, Records
from services.file_store.store import FileStore
from tandem.method.errors import InvalidArgument, NotFound

MOST_BYTES = 100 * 1024 * 1024
_MOST_NAME = 255


class Files:
    """Calls block."""

    def __init__(self, store: FileStore) -> None:
        self._store, self._records = store, Records(store)

    def require_store(self) -> None:
        """Raises FailedPrecondition where there is no store. Does not block."""
        self._store.require()

    def create(self, tenant: str, filename: str, purpose: str, content: Iterable[bytes]) -> FileRecord:
        """Raises InvalidArgument for a bad name or purpose."""
        if purpose != BATCH:
            raise InvalidArgument(f"a file's purpose is {BATCH!r}, not {purpose!r}", field="purpose")
        if not 1 <= len(filename) <= _MOST_NAME:
            raise InvalidArgument(f"a file's name has 1 to {_MOST_NAME} characters", field="file")
        file_id = f"file-{uuid4().hex}"
        size = self._store.write(paths.file_path(tenant, file_id), content)
        record = FileRecord(file_id, filename, purpose, size, time.time())
        self._records.write_file(tenant, record)
        return record

    def get(self, file: Owned) -> FileRecord:
        """Raises NotFound."""
        return self._records.file(file.tenant, file.id)

    def list(self, tenant: str, purpose: str, limit: int, after: str) -> tuple[list[FileRecord], bool]:
        """The newest first, from the one after `after`, and whether there are more."""
        found: list[FileRecord] = []
        for name in following([e.name for e in self._store.entries(paths.file_descriptions(tenant))], after):
            record = self._records.file(tenant, name)
            if purpose in ("", record.purpose):
                if len(found) == limit:
                    return found, True
                found.append(record)
        return found, False

    def content(self, file: Owned) -> Iterator[bytes]:
        """In pieces. Raises NotFound."""
        self.get(file)
        return self._store.chunks(paths.file_path(file.tenant, file.id))

    def lines(self, file: Owned) -> Iterator[bytes]:
        """Of a file for batches; one that is too long is cut behind the first byte too many.

        Raises NotFound, and InvalidArgument for any other file.
        """
        return self._store.lines(self._input(file), MOST_LINE_BYTES)

    def digest(self, file: Owned) -> str:
        """SHA-256 of a file for batches, in hexadecimal. Raises as `lines`."""
        digest = hashlib.sha256()
        for chunk in self._store.chunks(self._input(file)):
            digest.update(chunk)
        return digest.hexdigest()

    def delete(self, file: Owned) -> None:
        """Raises NotFound."""
        self.get(file)
        self._store.delete(paths.file_description_path(file.tenant, file.id))
        self._store.delete(paths.file_path(file.tenant, file.id))

    def _input(self, file: Owned) -> str:
        """Where the content of a file for batches lies."""
        if self.get(file).purpose != BATCH:
            raise InvalidArgument(
                f"file {file.id!r} is not for batches: its purpose is not {BATCH!r}", field="input_file_id"
            )
        return paths.file_path(file.tenant, file.id)


def following(names: list[str], after: str) -> list[str]:
    """The names behind `after`; all without one. Raises NotFound for one that is not there."""
    if not after:
        return names
    if after not in names:
        raise NotFound(f"there is no {after!r}", reason="UNKNOWN_CURSOR")
    return names[names.index(after) + 1 :]


def check_size(size: int) -> None:
    """Raises InvalidArgument for a file of more bytes than are taken."""
    if size > MOST_BYTES:
        raise InvalidArgument(f"a file has at most {MOST_BYTES} bytes", field="file", reason="FILE_TOO_LARGE")
