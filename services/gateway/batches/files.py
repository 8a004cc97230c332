"""Files of a tenant: stored, listed, read, deleted."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator
from uuid import uuid4

from services.gateway.batches.lines import MOST_BYTES as MOST_LINE_BYTES
from services.shared.file_store import paths
from services.shared.file_store.records import BATCH, FileRecord, Records
from services.shared.file_store.store import FileStore
from services.shared.identity.caller import Owned
from tandem.method.errors import InvalidArgument, NotFound, ResourceExhausted

MOST_BYTES = 100 * 1024 * 1024
MOST_STORED_BYTES = 2 * 1024**3
_MOST_NAME = 255


class Files:
    """Calls block. `most_stored`: bytes that the files of a tenant may have together, those that its batches wrote
    included.
    """

    def __init__(self, store: FileStore, most_stored: int = MOST_STORED_BYTES) -> None:
        self._store, self._records, self._most_stored = store, Records(store), most_stored

    def require_store(self) -> None:
        """Raises FailedPrecondition where there is no store. Does not block."""
        self._store.require()

    def require_space(self, tenant: str) -> None:
        """Raises ResourceExhausted where no byte more may be stored."""
        self._check_stored(tenant, 1)

    def create(self, tenant: str, filename: str, purpose: str, content: Iterable[bytes]) -> FileRecord:
        """Create the files of a tenant one at a time: then the bytes that it has are counted exactly.

        Raises InvalidArgument for a bad name or purpose, and ResourceExhausted where the tenant's files would have too
        many bytes.
        """
        if purpose != BATCH:
            raise InvalidArgument(f"a file's purpose is {BATCH!r}, not {purpose!r}", field="purpose")
        if not 1 <= len(filename) <= _MOST_NAME:
            raise InvalidArgument(f"a file's name has 1 to {_MOST_NAME} characters", field="file")
        file_id = f"file-{uuid4().hex}"
        path = paths.file_path(tenant, file_id)
        size = self._store.write(path, self._fitting(tenant, content))
        try:
            self._check_stored(tenant)  # another gateway may have written meanwhile: the later one gives way
            record = FileRecord(file_id, filename, purpose, size, time.time())
            self._records.write_file(tenant, record)
        except BaseException:
            self._store.delete(path)
            raise
        return record

    def get(self, file: Owned) -> FileRecord:
        """Raises NotFound."""
        return self._records.file(file.tenant, file.id)

    def list(self, tenant: str, purpose: str, limit: int, after: str) -> tuple[list[FileRecord], bool]:
        """Return the newest first, from the one after `after`, and whether there are more."""
        found: list[FileRecord] = []
        for name in following([e.name for e in self._store.entries(paths.file_descriptions(tenant))], after):
            record = self._records.file(tenant, name)
            if purpose in ("", record.purpose):
                if len(found) == limit:
                    return found, True
                found.append(record)
        return found, False

    def content(self, file: Owned) -> Iterator[bytes]:
        """Yield the content in pieces. Raises NotFound."""
        self.get(file)
        return self._store.chunks(paths.file_path(file.tenant, file.id))

    def lines(self, file: Owned) -> Iterator[bytes]:
        """Yield the lines of a file for batches; one that is too long is cut behind the first byte too many.

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

    def _fitting(self, tenant: str, content: Iterable[bytes]) -> Iterator[bytes]:
        stored = self._stored(tenant)
        for chunk in content:
            stored += len(chunk)
            self._check(stored)
            yield chunk

    def _check_stored(self, tenant: str, more: int = 0) -> None:
        self._check(self._stored(tenant) + more)

    def _stored(self, tenant: str) -> int:
        """Looked up each time: what a batch wrote, another gateway stored, or the retention erased is counted, too."""
        return sum(entry.bytes for entry in self._store.entries(paths.files(tenant)))

    def _check(self, stored: int) -> None:
        if stored > self._most_stored:
            raise ResourceExhausted(
                f"the files would have more than {self._most_stored} bytes together, which is the limit: delete "
                "those that are not needed",
                reason="FILE_QUOTA_EXCEEDED",
            )

    def _input(self, file: Owned) -> str:
        """Return where the content of a file for batches lies."""
        if self.get(file).purpose != BATCH:
            raise InvalidArgument(
                f"file {file.id!r} is not for batches: its purpose is not {BATCH!r}", field="input_file_id"
            )
        return paths.file_path(file.tenant, file.id)


def following(names: list[str], after: str) -> list[str]:
    """Return the names behind `after`; all without one. Raises NotFound for one that is not there."""
    if not after:
        return names
    if after not in names:
        raise NotFound(f"there is no {after!r}", reason="UNKNOWN_CURSOR")
    return names[names.index(after) + 1 :]


def check_size(size: int) -> None:
    """Raises InvalidArgument for a file of more bytes than are taken."""
    if size > MOST_BYTES:
        raise InvalidArgument(f"a file has at most {MOST_BYTES} bytes", field="file", reason="FILE_TOO_LARGE")
