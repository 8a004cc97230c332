"""Hashed bag of words of a question, and surface counts. Needs no model. Training and serving share this definition."""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

BUCKETS = 512
COUNTS = (
    "characters",
    "words",
    "sentences",
    "numbers",
    "largest_number",
    "dollars",
    "backslashes",
    "percents",
    "slashes",
)
WIDTH = BUCKETS + len(COUNTS)
_TOKEN = re.compile(r"[a-z]+|\d+|[\\$%/=^+*<>]")
_NUMBER = re.compile(r"\d+")
_HASHED_NORM = 5.0  # the counts beside the hashed part are standardised; at norm 1 it would carry too little weight


def bag_of_words(question: str) -> NDArray[np.float32]:
    """Compute float32[WIDTH]: BUCKETS hashed columns, then COUNTS.

    Unigrams and bigrams, weighted by 1 + log(count), are hashed with a sign (feature hashing, Weinberger et al. 2009)
    and scaled to a common norm. A number enters by its length only, so that its value cannot be memorised.
    """
    tokens = ["#" * len(t) if t.isdigit() else t for t in _TOKEN.findall(question.lower())]
    hashed = np.zeros(BUCKETS, np.float32)
    for token, count in Counter([*tokens, *(f"{a} {b}" for a, b in pairwise(tokens))]).items():
        digest = zlib.crc32(token.encode())
        hashed[digest % BUCKETS] += (1 if digest >> 31 else -1) * (1 + math.log(count))
    hashed *= _HASHED_NORM / max(float(np.linalg.norm(hashed)), 1e-6)
    return np.concatenate([hashed, np.array(_counts(question), np.float32)])


def _counts(question: str) -> list[float]:
    numbers = [float(n[:15]) for n in _NUMBER.findall(question)]
    return [
        math.log1p(len(question)),
        math.log1p(len(question.split())),
        question.count("."),
        len(numbers),
        math.log1p(max(numbers, default=0.0)),
        *(question.count(sign) for sign in "$\\%/"),
    ]
