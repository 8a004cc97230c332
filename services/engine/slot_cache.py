"""Keys and values of the running batch: one row per sequence, the running ones in rows 0..n-1.

Rows stay dense, so a decode step reads plain slices: a single stream costs no copy at all, and a batch none beyond
the padding to its longest member.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

_LENGTH_STEP = 256


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
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        slots = self._slots
        self._grow(slots.last_row + 1, slots.longest)
        rows = slice(slots.first_row, slots.last_row + 1)
        if slots.positions is None:  # consecutive tokens of one row
            span = slice(slots.longest - key_states.shape[2], slots.longest)
            self.keys[rows, :, span] = key_states
            self.values[rows, :, span] = value_states
        else:  # one token for each row, at its own position
            index = torch.arange(key_states.shape[0], device=key_states.device)
            self.keys[index, :, slots.positions] = key_states[:, :, 0]
            self.values[index, :, slots.positions] = value_states[:, :, 0]
        return self.keys[rows, :, : slots.longest], self.values[rows, :, : slots.longest]

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
        self._grow(target + 1, length)
        self.keys[target, :, :length] = self.keys[source, :, :length]
        self.values[target, :, :length] = self.values[source, :, :length]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._slots.longest, 0

    def get_seq_length(self) -> int:
        return self._slots.longest - self._slots.query_length

    def get_max_length(self) -> int:
        return -1


class SlotCache(Cache):  # type: ignore[misc]
    """Say which rows the next forward pass writes with `at_row` or `at_rows`, then run it."""

    def __init__(self, num_layers: int) -> None:
        self.first_row = self.last_row = 0
        self.longest = 0
        self.query_length = 0
        self.positions: Tensor | None = None
        super().__init__(layers=[_SlotLayer(self) for _ in range(num_layers)])

    def at_row(self, row: int, computed: int, query_length: int) -> None:
        """The next pass appends `query_length` tokens to the `computed` ones of `row`."""
        self.first_row = self.last_row = row
        self.longest, self.query_length = computed + query_length, query_length
        self.positions = None

    def at_rows(self, positions: Tensor) -> None:
        """The next pass appends one token to each of rows 0..n-1, at `positions`, int64[n]."""
        self.first_row, self.last_row = 0, positions.shape[0] - 1
        self.longest, self.query_length = int(positions.max()) + 1, 1
        self.positions = positions

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens of row `source` over row `target`, which may be the first unused one."""
        for layer in self.layers:
            assert isinstance(layer, _SlotLayer)
            if layer.is_initialized:
                layer.move(source, target, length)
