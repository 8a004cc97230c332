"""The tools that conversations begin with: their keys and values outlive the conversations, and with files the
process.
"""

from __future__ import annotations

import logging

from services.models.engine.loop.prefix_cache import KeysValues, PrefixCache
from services.models.engine.loop.prefix_files import PrefixFiles

logger = logging.getLogger(__name__)


class Beginnings(PrefixCache):
    """With files, each is saved as it is put."""

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
