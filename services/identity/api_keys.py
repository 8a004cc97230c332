"""Callers by API key, from the file that `tandem keys` writes. A change of the file counts from the next call on."""

from __future__ import annotations

from pathlib import Path

from services.identity.caller import Caller
from tandem.keys import KeyFile, find_key
from tandem.watched_file import WatchedFile


class ApiKeys:
    """Raises KeyFileError where `path` holds no keys when the process starts."""

    def __init__(self, path: Path) -> None:
        self._keys = WatchedFile(path, KeyFile(path).read, "the API keys")

    def caller(self, credential: str) -> Caller | None:
        """None for a credential that is no key."""
        key = find_key(self._keys.value, credential)
        return Caller(key.tenant, frozenset(key.roles)) if key else None
