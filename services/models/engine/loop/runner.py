"""What computes an engine's passes, and the shape of one pass."""

from __future__ import annotations

from collections import abc
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from services.models.engine.api import PromptScores, Tokenizer
from services.models.engine.grammar import JsonTokenizer
from services.models.engine.loop.request_queue import ScoringJob
from services.models.engine.loop.scheduler import Rows, ScheduledChunk
from services.models.engine.loop.sequence import Sequence


class ModelTokenizer(Tokenizer, JsonTokenizer, Protocol):
    """A tokenizer whose vocabulary a grammar can read."""


class ServedModel(Protocol):
    """What a file says of its model."""

    @property
    def context_length(self) -> int: ...

    def eos_ids(self) -> frozenset[int]: ...

    def num_parameters(self) -> int: ...


class Interrupted(Exception):
    """A pass that ended in its middle, because nobody needs it any more, has computed nothing: its sequences are where
    they were.
    """


class ModelRunner(Protocol):
    """A model and its keys and values, for the engine's thread alone."""

    @property
    def model(self) -> ServedModel:
        """After `load`."""
        ...

    @property
    def cache(self) -> Rows: ...

    @property
    def identity(self) -> str:
        """After `load`: of a model whose rows' extracts, arrays of numpy, mean the same in a later process; empty: of
        none.
        """
        ...

    @property
    def max_tokens(self) -> int:
        """As many as the rows of `cache` hold together."""
        ...

    def load(self) -> None:
        """Raises OSError where there is no model."""
        ...

    def tokenizer(self) -> ModelTokenizer:
        """Raises OSError where the model has none."""
        ...

    def stepping(self) -> AbstractContextManager[Any]:
        """What the engine's thread holds while it uses the runner and its rows."""
        ...

    def warm_up(self) -> None: ...

    def run(self, chunks: list[ScheduledChunk]) -> list[int]:
        """One pass over `chunks`, in rows 0, 1, ... of the cache: the next token of each that generates one, in their
        order.

        Raises Interrupted after `interrupt`.
        """
        ...

    def interrupt(self) -> None:
        """End the pass under way, where the runner can; or the next one, where that has just ended. From any thread."""
        ...

    def num_scored_together(self, jobs: list[ScoringJob]) -> int:
        """How many of the first `jobs` are best scored in one pass."""
        ...

    def score(self, jobs: list[ScoringJob]) -> list[PromptScores]: ...

    def close(self) -> None:
        """Free the model."""
        ...


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a pass computes of one sequence: tokens `start` to `start + length` of the one in `row` of the KV cache,
    which holds the tokens before them.
    """

    row: int
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Pass:
    """What a scheduler chose. `tokens` are those of all `chunks`, concatenated. The token of index `ends[i]` predicts
    the next one of `sequences[i]`.
    """

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

    def next_tokens(self, logits: NDArray[np.float32]) -> list[int]:
        """Of each sequence, by a grammar's mask, then the likeliest token or a draw. `logits` is float32[sequences,
        vocabulary], and is changed.
        """
        for row, sequence in enumerate(self.sequences):
            if sequence.matcher:
                with sequence.fails_alone():
                    sequence.matcher.mask(logits[row])
        tokens: list[int] = logits.argmax(axis=-1).tolist()
        for row, sequence in enumerate(self.sequences):
            with sequence.fails_alone():
                tokens[row] = _draw(sequence, logits[row], tokens[row])
        return tokens


def _draw(sequence: Sequence, logits: NDArray[np.float32], likeliest: int) -> int:
    """The next token, which the sequence's grammar accepts."""
    token = likeliest
    if sequence.sampler:
        token = sequence.sampler.draw(logits)
    if sequence.matcher:
        sequence.matcher.accept(token)
    return token
