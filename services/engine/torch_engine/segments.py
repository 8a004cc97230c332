"""The shape of one forward pass over several sequences: the chunks it computes, grouped into segments for attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from services.engine.loop.chunk import Chunk


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive rows that attention computes at once, each with `query_length` new tokens.

    `tokens` are their places in the pass, `positions` int64[rows, query_length] those in their sequences. `key_length` is the
    length of the longest sequence after the pass. `mask` is bool[rows, 1, query_length, key_length], or None where a plain
    causal mask is enough.
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
