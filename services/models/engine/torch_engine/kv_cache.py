"""Keys and values of the running batch: one row for each sequence, the running ones in rows 0 to n - 1.

The rows in use have no gaps, so a decode step reads plain slices: one sequence needs no copy, and a batch is padded
only to its longest member. A pass reads and writes them in segments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from services.models.engine.loop.runner import Chunk

_LENGTH_STEP = 256
KeysValues = list[tuple[Tensor, Tensor]]
"""For each layer, the keys and the values of one text, float[heads, length, head_dim] each."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive rows that attention computes at once, each with `query_length` new tokens.

    `tokens` are their places in the pass, `positions` int64[rows, query_length] those in their sequences. `key_length`
    is the length of the longest sequence after the pass. `mask` is bool[rows, 1, query_length, key_length], or None
    where a plain causal mask is enough.
    """

    rows: slice
    tokens: slice
    positions: Tensor
    query_length: int
    key_length: int
    mask: Tensor | None

    @property
    def is_single_row(self) -> bool:
        return bool(self.rows.stop - self.rows.start == 1)


def make_segments(chunks: Sequence[Chunk], device: torch.device) -> list[Segment]:
    """Neighbours of one token each share a segment; a longer chunk is a segment by itself."""
    segments: list[Segment] = []
    first_token = 0
    for _, group in groupby(enumerate(chunks), lambda item: -1 if item[1].length == 1 else item[0]):
        segment = _make_segment([chunk for _, chunk in group], first_token, device)
        first_token = segment.tokens.stop
        segments.append(segment)
    return segments


def _make_segment(chunks: Sequence[Chunk], first_token: int, device: torch.device) -> Segment:
    length = chunks[0].length
    positions = torch.tensor([chunk.start for chunk in chunks])[:, None] + torch.arange(length)
    longest = max(chunk.start for chunk in chunks) + length
    is_causal = len(chunks) == 1 and length in (1, longest)
    mask = None if is_causal else (torch.arange(longest) <= positions[:, :, None])[:, None].to(device)
    rows = slice(chunks[0].row, chunks[0].row + len(chunks))
    tokens = slice(first_token, first_token + length * len(chunks))
    return Segment(rows, tokens, positions.to(device), length, longest, mask)


class KVCache:
    """A layer's tensors are created when the first pass reaches the layer, and grow as needed."""

    def __init__(self) -> None:
        self._layers: list[_Layer] = []

    def store(self, layer: int, segments: Sequence[Segment], keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add a pass's keys and values, float[1, heads, tokens, head_dim] each, to the rows of its `segments`.

        Returns all keys and values of the layer, float[rows, heads, length, head_dim] each.
        """
        if layer == len(self._layers):
            self._layers.append(_Layer(keys[0], values[0]))
        return self._layers[layer].store(segments, keys[0], values[0])

    def copy_row(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens of row `source` to row `target`, which may be the first unused one."""
        for layer in self._layers:
            layer.insert(target, layer.keys[source, :, :length], layer.values[source, :, :length])

    def extract(self, row: int, length: int) -> KeysValues:
        """A copy of the first `length` tokens of `row`."""
        return [(layer.keys[row, :, :length].clone(), layer.values[row, :, :length].clone()) for layer in self._layers]

    def insert(self, row: int, keys_values: KeysValues, length: int) -> None:
        """Copy the first `length` tokens of an extract to `row`, which may be the first unused one."""
        for layer, (keys, values) in zip(self._layers, keys_values, strict=True):
            layer.insert(row, keys[:, :length], values[:, :length])

    def drop_row(self, row: int) -> None:
        """`row` is not in use any more. Its memory is kept for the next sequence."""


class _Layer:
    """One layer's keys and values, float[rows, heads, length, head_dim] each."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        """Empty, with the heads, dtype and device of these: float[heads, any length, head_dim]."""
        self.keys = keys.new_empty((0, keys.shape[0], 0, keys.shape[2]))
        self.values = values.new_empty((0, values.shape[0], 0, values.shape[2]))

    def store(self, segments: Sequence[Segment], keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        self._grow(max(segment.rows.stop for segment in segments), max(segment.key_length for segment in segments))
        for segment in segments:
            new_keys, new_values = keys[:, segment.tokens], values[:, segment.tokens]
            if segment.is_single_row:
                span = slice(segment.key_length - segment.query_length, segment.key_length)
                self.keys[segment.rows.start, :, span] = new_keys
                self.values[segment.rows.start, :, span] = new_values
            else:  # one token for each row, each at its own position
                positions = segment.positions[:, 0]
                rows = torch.arange(segment.rows.start, segment.rows.stop, device=positions.device)
                self.keys[rows, :, positions] = new_keys.transpose(0, 1)
                self.values[rows, :, positions] = new_values.transpose(0, 1)
        return self.keys, self.values

    def insert(self, row: int, keys: Tensor, values: Tensor) -> None:
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
