"""The next tokens of a pass: a grammar's mask, then the likeliest token or a draw."""

from __future__ import annotations

from collections import abc

import numpy as np
from numpy.typing import NDArray

from services.engine.loop.sampler import Sampler
from services.engine.loop.sequence import Sequence


def choose_tokens(sequences: abc.Sequence[Sequence], logits: NDArray[np.float32]) -> list[int]:
    """The next token of each sequence, from its row of `logits`, float32[sequences, vocabulary], which is changed."""
    for row, sequence in enumerate(sequences):
        if sequence.matcher:
            with sequence.fails_alone():
                sequence.matcher.mask(logits[row])
    tokens: list[int] = logits.argmax(axis=-1).tolist()
    for row, sequence in enumerate(sequences):
        with sequence.fails_alone():
            tokens[row] = _draw(sequence, logits[row], tokens[row])
    return tokens


def _draw(sequence: Sequence, logits: NDArray[np.float32], likeliest: int) -> int:
    """The next token, which the sequence's grammar accepts."""
    token, sampling = likeliest, sequence.generation.sampling
    if sampling.temperature > 0:
        sequence.sampler = sequence.sampler or Sampler(sampling)
        token = sequence.sampler.draw(logits)
    if sequence.matcher:
        sequence.matcher.accept(token)
    return token
