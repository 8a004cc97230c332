"""Pages of admitted requests: written by the gateway, read by the worker."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from functools import lru_cache

from temporalio.converter import value_to_type

from services.file_store.paths import requests_path
from services.file_store.store import FileStore
from tandem.method.batch import AdmittedLine

_KEPT_PAGES = 16


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
