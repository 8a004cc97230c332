"""Keys and values of the running batch: one row per sequence, the running ones in rows 0..n-1.

Rows stay dense, so a decode step reads plain slices: a single stream costs no copy at all, and a batch none beyond
the padding to its longest member.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from services.engine.ragged import Block

_LENGTH_STEP = 256
KeysValues = list[tuple[Tensor, Tensor]]
"""For each layer, the keys and the values of one text, float[heads, length, head_dim] each."""


class _SlotLayer(CacheLayerMixin):  # type: ignore[misc]
    """One layer's keys and values, float[rows, heads, length, head_dim], grown as needed."""

    is_sliding = False
    is_croppable = False

    def __init__(self, slots: SlotCache) -> None:
        super().__init__()
        self._slots = slots

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.dtype, self.device = key_states.dtype, key_states.device
        heads, dim, value_dim = key_states.shape[1], key_states.shape[3], value_states.shape[3]
        self.keys = key_states.new_empty((0, heads, 0, dim))
        self.values = value_states.new_empty((0, heads, 0, value_dim))
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Keeps float[1, heads, tokens, head_dim] where the pass's blocks say; returns all that is kept."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        blocks = self._slots.blocks
        self._grow(max(block.rows.stop for block in blocks), max(block.longest for block in blocks))
        for block in blocks:
            keys, values = key_states[0, :, block.tokens], value_states[0, :, block.tokens]
            if block.is_single:
                span = slice(block.longest - block.each, block.longest)
                self.keys[block.rows.start, :, span] = keys
                self.values[block.rows.start, :, span] = values
            else:  # a token for each row, at its own position
                rows = torch.arange(block.rows.start, block.rows.stop, device=keys.device)
                self.keys[rows, :, block.positions[:, 0]] = keys.transpose(0, 1)
                self.values[rows, :, block.positions[:, 0]] = values.transpose(0, 1)
        return self.keys, self.values

    def _grow(self, rows: int, length: int) -> None:
        have_rows, heads, have_length, dim = self.keys.shape
        if rows <= have_rows and length <= have_length:
            return
        new_rows = have_rows if rows <= have_rows else max(rows, 2 * have_rows)
        new_length = have_length if length <= have_length else -(-length // _LENGTH_STEP) * _LENGTH_STEP
        keys = self.keys.new_zeros((new_rows, heads, new_length, dim))
        values = self.values.new_zeros((new_rows, heads, new_length, self.values.shape[3]))
        keys[:have_rows, :, :have_length] = self.keys
        values[:have_rows, :, :have_length] = self.values
        self.keys, self.values = keys, values

    def move(self, source: int, target: int, length: int) -> None:
        self.put(target, self.keys[source, :, :length], self.values[source, :, :length])

    def put(self, row: int, keys: Tensor, values: Tensor) -> None:
        if not self.is_initialized:
            self.lazy_initialization(keys[None], values[None])
        length = keys.shape[1]
        self._grow(row + 1, length)
        self.keys[row, :, :length] = keys
        self.values[row, :, :length] = values

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        raise NotImplementedError("a pass brings its masks along")

    def get_seq_length(self) -> int:
        raise NotImplementedError("each row has its own length")

    def get_max_length(self) -> int:
        return -1


class SlotCache(Cache):  # type: ignore[misc]
    """`services.engine.ragged.read` writes to it."""

    def __init__(self, num_layers: int) -> None:
        self.blocks: list[Block] = []
        super().__init__(layers=[_SlotLayer(self) for _ in range(num_layers)])

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens of row `source` over row `target`, which may be the first unused one."""
        for layer in self._used():
            layer.move(source, target, length)

    def take(self, row: int, length: int) -> KeysValues:
        """A copy of the first `length` tokens of `row`."""
        return [(layer.keys[row, :, :length].clone(), layer.values[row, :, :length].clone()) for layer in self._used()]

    def put(self, row: int, kept: KeysValues, length: int) -> None:
        """Copy the first `length` tokens of what `take` gave over `row`, which may be the first unused one."""
        for layer, (keys, values) in zip(self.layers, kept, strict=True):
            layer.put(row, keys[:, :length], values[:, :length])

    def _used(self) -> list[_SlotLayer]:
        return [layer for layer in self.layers if layer.is_initialized]
