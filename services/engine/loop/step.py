"""What a scheduler chose, laid out as one pass."""

from __future__ import annotations

from collections import abc
from dataclasses import dataclass
from itertools import accumulate
from typing import Self

from services.engine.loop.chunk import Chunk
from services.engine.loop.scheduler import ScheduledChunk
from services.engine.loop.sequence import Sequence


@dataclass(frozen=True, slots=True)
class Step:
    """`tokens` are those of all `chunks`, concatenated. The token of index `ends[i]` predicts the next one of `sequences[i]`."""

    chunks: list[Chunk]
    tokens: list[int]
    ends: list[int]
    sequences: list[Sequence]

    @classmethod
    def of(cls, scheduled: abc.Sequence[ScheduledChunk]) -> Self:
        """The sequences are in rows 0, 1, ... of the cache."""
        ends = accumulate(chunk.length for chunk in scheduled)
        return cls(
            [Chunk(row, each.sequence.computed, each.length) for row, each in enumerate(scheduled)],
            [token for each in scheduled for token in each.sequence.next_tokens(each.length)],
            [end - 1 for each, end in zip(scheduled, ends, strict=True) if each.generates],
            [each.sequence for each in scheduled if each.generates],
        )
