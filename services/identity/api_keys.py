"""Callers by API key, from the file that `tandem keys` writes. A change of the file counts from the next call on."""

from __future__ import annotations

import logging
from pathlib import Path

from services.identity.caller import Caller
from tandem.keys import ApiKey, KeyFile, KeyFileError, find_key

logger = logging.getLogger(__name__)


class ApiKeys:
    """Raises KeyFileError where `path` holds no keys when the process starts."""

    def __init__(self, path: Path) -> None:
        self._file = KeyFile(path)
        self._state = self._state_now()
        self._keys: list[ApiKey] = self._file.read()

    def caller(self, credential: str) -> Caller | None:
        """None for a credential that is no key."""
        self._reload()
        key = find_key(self._keys, credential)
        return Caller(key.tenant, frozenset(key.roles)) if key else None

    def _reload(self) -> None:
        """A file that cannot be read keeps the keys there were, and is tried again when it changes."""
        state = self._state_now()
        if state == self._state:
            return
        self._state = state
        try:
            self._keys = self._file.read()
            logger.info("%d API keys are valid", len(self._keys))
        except KeyFileError as error:
            logger.error("the API keys stay as they were: %s", error)

    def _state_now(self) -> tuple[int, int, int]:
        try:
            found = self._file.path.stat()  # of what a link names: Kubernetes replaces a secret's files by a link
        except FileNotFoundError:
            return (0, 0, 0)
        return (found.st_ino, found.st_mtime_ns, found.st_size)
