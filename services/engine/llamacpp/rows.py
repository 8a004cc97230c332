"""The rows of a cache that takes its memory when the first of them is used."""

from __future__ import annotations

from collections.abc import Callable

from services.engine.llamacpp.context import LlamaContext
from services.engine.loop.prefix_cache import KeysValues


class LlamaRows:
    """services.engine.loop.scheduler.Rows, before the model is loaded."""

    def __init__(self, context: Callable[[], LlamaContext]) -> None:
        self._context = context

    def copy_row(self, source: int, target: int, length: int) -> None:
        self._context().copy_row(source, target, length)

    def extract(self, row: int, length: int) -> KeysValues:
        return self._context().extract(row, length)

    def insert(self, row: int, keys_values: KeysValues, length: int) -> None:
        self._context().insert(row, keys_values, length)

    def drop_row(self, row: int) -> None:
        self._context().drop_row(row)
