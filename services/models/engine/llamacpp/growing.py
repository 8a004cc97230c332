"""Keys and values of llama.cpp that take memory as they are needed: a context is made for a number of tokens, and keeps
it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from services.models.engine.llamacpp.context import LlamaContext, LlamaInterrupt
from services.models.engine.loop.prefix_cache import KeysValues
from services.models.engine.loop.runner import Chunk

_FIRST_TOKENS = 4096


class GrowingContext:
    """A LlamaContext for `max_tokens`, which begins with a few thousand. Where its rows come to more, a larger one
    takes its place, and what the rows hold moves there.
    """

    def __init__(self, make: Callable[[int, LlamaInterrupt | None], LlamaContext], max_tokens: int) -> None:
        """`make` makes a context for a number of tokens. Raises OSError as it does."""
        self._make, self._max_tokens = make, max_tokens
        self._tokens = min(_FIRST_TOKENS, max_tokens)
        self._context = make(self._tokens, None)
        self._lengths: dict[int, int] = {}  # of the rows; tokens that two rows share count twice

    @property
    def num_tokens(self) -> int:
        """For how many there is memory now."""
        return self._tokens

    def interrupt(self) -> None:
        """From any thread."""
        self._context.interrupt.set()

    def run(self, chunks: Sequence[Chunk], tokens: Sequence[int], outputs: Sequence[int]) -> NDArray[np.float32]:
        self._make_room({chunk.row: chunk.start + chunk.length for chunk in chunks})
        return self._context.run(chunks, tokens, outputs)

    def copy_row(self, source: int, target: int, length: int) -> None:
        self._make_room({target: length})
        self._context.copy_row(source, target, length)

    def extract(self, row: int, length: int) -> KeysValues:
        return self._context.extract(row, length)

    def insert(self, row: int, keys_values: KeysValues, length: int) -> None:
        self._make_room({row: length})
        self._context.insert(row, keys_values, length)

    def drop_row(self, row: int) -> None:
        self._lengths.pop(row, None)
        self._context.drop_row(row)

    def _make_room(self, lengths: dict[int, int]) -> None:
        """For rows that are about to have these lengths."""
        total = sum((self._lengths | lengths).values())
        if total > self._tokens < self._max_tokens:
            self._grow(total)
        self._lengths |= lengths

    def _grow(self, total: int) -> None:
        while self._tokens < total:
            self._tokens *= 2
        self._tokens = min(self._tokens, self._max_tokens)
        rows = {row: (self._context.extract(row, length), length) for row, length in self._lengths.items() if length}
        self._context.close()
        # The same interrupt: one that came meanwhile ends the pass that is to follow.
        self._context = self._make(self._tokens, self._context.interrupt)
        for row, (keys_values, length) in rows.items():
            self._context.insert(row, keys_values, length)
