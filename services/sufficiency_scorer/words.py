"""What can be seen of a question without any model: its words, hashed, and some counts. One definition, training and serving."""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

HASHED = 512
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
WIDTH = HASHED + len(COUNTS)
_TOKEN = re.compile(r"[a-z]+|\d+|[\\$%/=^+*<>]")
_NUMBER = re.compile(r"\d+")
_SCALE = 5.0  # of the hashed part, whose length would else be 1, beside counts that are standardised


def words(question: str) -> NDArray[np.float32]:
    """float32[WIDTH]: words and pairs of neighbours, numbers known by their length alone, with 1 + log of how often, hashed
    with a sign into HASHED places and scaled to one length; then COUNTS.
    """
    tokens = ["#" * len(t) if t.isdigit() else t for t in _TOKEN.findall(question.lower())]
    hashed = np.zeros(HASHED, np.float32)
    for token, count in Counter([*tokens, *(f"{a} {b}" for a, b in pairwise(tokens))]).items():
        place = zlib.crc32(token.encode())
        hashed[place % HASHED] += (1 if place >> 31 else -1) * (1 + math.log(count))
    hashed *= _SCALE / max(float(np.linalg.norm(hashed)), 1e-6)
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
