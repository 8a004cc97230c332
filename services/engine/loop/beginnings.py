"""The tools that conversations begin with: their keys and values outlive the conversations, and with files the process."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from services.engine.loop.prefix_cache import KeysValues, PrefixCache
from services.engine.loop.prefix_files import PrefixFiles

logger = logging.getLogger(__name__)


class Beginnings:
    """The most recently used within `max_bytes`. Each owner has its own."""

    def __init__(self, max_bytes: int) -> None:
        self._cache = PrefixCache(max_bytes)
        self._files: PrefixFiles | None = None

    def open(self, files: PrefixFiles) -> None:
        """Take in what a former process saved, and save from now on."""
        self._files = files
        for prefix in files.saved():
            self._cache.put(prefix.ids, prefix.keys_values, prefix.owner)

    def has(self, ids: tuple[int, ...], owner: str) -> bool:
        return self._cache.longest(ids, owner)[0] == len(ids)

    def put(self, ids: tuple[int, ...], keys_values: KeysValues, owner: str) -> None:
        """A disk that takes no more costs no request: what cannot be saved stays in memory."""
        if self._files:
            try:
                keys_values = self._files.save(ids, keys_values, owner)
            except OSError as error:
                logger.warning("tools cannot be kept in a file: %s", error)
        self._cache.put(ids, keys_values, owner)

    def longest(self, ids: Sequence[int], owner: str) -> tuple[int, KeysValues]:
        """As PrefixCache has it."""
        return self._cache.longest(ids, owner)
