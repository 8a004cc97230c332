"""What a pass computes of one sequence."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens `start` to `start + length` of the sequence in `row` of the KV cache, which holds the tokens before them."""

    row: int
    start: int
    length: int
