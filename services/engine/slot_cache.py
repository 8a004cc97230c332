"""Keys and values of the running batch: one row per sequence, the running ones in rows 0..n-1.

Rows stay dense, so a decode step reads plain slices: a single stream costs no copy at all, and a batch none beyond
the padding to its longest member.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from services.engine.ragged import Block

_LENGTH_STEP = 256
KeysValues = list[tuple[Tensor, Tensor]]
"""For each layer, the keys and the values of one text, float[heads, length, head_dim] each."""


class SlotCache:
    """The layers appear as the first pass reaches them."""

    def __init__(self) -> None:
        self._layers: list[_Layer] = []

    def keep(self, layer: int, blocks: Sequence[Block], keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add a pass's keys and values, float[1, heads, tokens, head_dim], where its `blocks` say.

        Returns all that is kept of the layer, float[rows, heads, length, head_dim] each.
        """
        if layer == len(self._layers):
            self._layers.append(_Layer(keys[0], values[0]))
        return self._layers[layer].keep(blocks, keys[0], values[0])

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens of row `source` over row `target`, which may be the first unused one."""
        for layer in self._layers:
            layer.put(target, layer.keys[source, :, :length], layer.values[source, :, :length])

    def take(self, row: int, length: int) -> KeysValues:
        """A copy of the first `length` tokens of `row`."""
        return [(layer.keys[row, :, :length].clone(), layer.values[row, :, :length].clone()) for layer in self._layers]

    def put(self, row: int, kept: KeysValues, length: int) -> None:
        """Copy the first `length` tokens of what `take` gave over `row`, which may be the first unused one."""
        for layer, (keys, values) in zip(self._layers, kept, strict=True):
            layer.put(row, keys[:, :length], values[:, :length])


class _Layer:
    """One layer's keys and values, float[rows, heads, length, head_dim], grown as needed."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        """Empty, for what looks like these: float[heads, any, head_dim]."""
        self.keys = keys.new_empty((0, keys.shape[0], 0, keys.shape[2]))
        self.values = values.new_empty((0, values.shape[0], 0, values.shape[2]))

    def keep(self, blocks: Sequence[Block], keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        self._grow(max(block.rows.stop for block in blocks), max(block.longest for block in blocks))
        for block in blocks:
            new_keys, new_values = keys[:, block.tokens], values[:, block.tokens]
            if block.is_single:
                span = slice(block.longest - block.each, block.longest)
                self.keys[block.rows.start, :, span] = new_keys
                self.values[block.rows.start, :, span] = new_values
            else:  # a token for each row, at its own position
                positions = block.positions[:, 0]
                rows = torch.arange(block.rows.start, block.rows.stop, device=positions.device)
                self.keys[rows, :, positions] = new_keys.transpose(0, 1)
                self.values[rows, :, positions] = new_values.transpose(0, 1)
        return self.keys, self.values

    def put(self, row: int, keys: Tensor, values: Tensor) -> None:
        length = keys.shape[1]
        self._grow(row + 1, length)
        self.keys[row, :, :length] = keys
        self.values[row, :, :length] = values

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
