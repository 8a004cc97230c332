"""What is known of a file and of a batch, as small files beside them; and pages of a batch's requests, which the worker
reads.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache

from temporalio.converter import value_to_type

from services.shared.file_store import paths
from services.shared.file_store.paths import requests_path
from services.shared.file_store.store import FileStore
from tandem.method.errors import NotFound
from tandem.method.request.batch import AdmittedLine, BatchProgress, BatchState

BATCH, BATCH_OUTPUT = "batch", "batch_output"
_KEPT_PAGES = 16


@dataclass(frozen=True, slots=True)
class FileRecord:
    """`created_at` is Unix time in seconds; `purpose` BATCH or BATCH_OUTPUT."""

    file_id: str
    filename: str
    purpose: str
    bytes: int
    created_at: float


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """What a batch was made with. `deadline` is Unix time in seconds, 0: none."""

    batch_id: str
    folder: str
    fingerprint: str
    profile: str
    input_file_id: str
    total: int
    concurrency: int
    max_cost_usd: float | None
    created_at: float
    deadline: float
    metadata: dict[str, str]


class Records:
    """The records of one store."""

    def __init__(self, store: FileStore) -> None:
        self._store = store

    def write_file(self, tenant: str, record: FileRecord) -> None:
        self._write(paths.file_description_path(tenant, record.file_id), record)

    def file(self, tenant: str, file_id: str) -> FileRecord:
        """Raises NotFound."""
        return FileRecord(**json.loads(self._store.read(paths.file_description_path(tenant, file_id))))

    def write_batch(self, tenant: str, record: BatchRecord) -> None:
        self._write(paths.batch_path(tenant, record.batch_id), record)

    def batch(self, tenant: str, batch_id: str) -> BatchRecord:
        """Raises NotFound."""
        try:
            return BatchRecord(**json.loads(self._store.read(paths.batch_path(tenant, batch_id))))
        except NotFound:
            raise NotFound(f"there is no batch {batch_id!r}", reason="UNKNOWN_BATCH") from None

    def write_begun(self, folder: str) -> None:
        """Temporal has the batch's workflow: where it knows none later, it has lost it."""
        self._store.write(paths.begun_path(folder), [])

    def has_begun(self, folder: str) -> bool:
        return self._store.size(paths.begun_path(folder)) is not None

    def write_end(self, folder: str, progress: BatchProgress) -> None:
        self._write(paths.end_path(folder), progress)

    def end(self, folder: str) -> BatchProgress | None:
        """Return how the batch ended; None while it has not."""
        try:
            fields = json.loads(self._store.read(paths.end_path(folder)))
        except NotFound:
            return None
        return BatchProgress(**{**fields, "state": BatchState(fields["state"])})

    def _write(self, path: str, record: FileRecord | BatchRecord | BatchProgress) -> None:
        self._store.write(path, [json.dumps(asdict(record)).encode()])


def write_page(store: FileStore, folder: str, page: int, lines: Iterable[AdmittedLine]) -> None:
    store.write(requests_path(folder, page), (json.dumps(asdict(line)).encode() + b"\n" for line in lines))


class Pages:
    """Reads pages, and keeps the last ones: a page never changes."""

    def __init__(self, store: FileStore) -> None:
        self._read = lru_cache(maxsize=_KEPT_PAGES)(lambda path: store.read(path).splitlines())

    def line(self, folder: str, page: int, index: int) -> AdmittedLine:
        """Raises NotFound where the batch's files are gone."""
        return _decoded(self._read(requests_path(folder, page))[index])

    def lines(self, folder: str, page: int) -> list[AdmittedLine]:
        """Raises as `line`."""
        return [_decoded(line) for line in self._read(requests_path(folder, page))]


def _decoded(line: bytes) -> AdmittedLine:
    found: AdmittedLine = value_to_type(AdmittedLine, json.loads(line))
    return found
