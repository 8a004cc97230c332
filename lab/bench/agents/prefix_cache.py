"""The vendors' prompt caches, and what a prompt costs by their rules.

A prompt is a sequence of parts; two prompts share what their parts have in common from the beginning. Four bytes are a
token. OpenAI's keeps every prompt of 1,024 tokens and more by itself; Anthropic's keeps what a mark (`cache_control`)
ends, and looks for it at most 20 parts before a mark.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

LEAST_TOKENS, _STEP, _LOOK_BACK = 1024, 128, 20
_BYTES = 4


@dataclass(frozen=True)
class Part:
    """`mark`: the time to live of a cache that it ends, "5m" or "1h"; empty: none."""

    text: str
    mark: str = ""


@dataclass(frozen=True)
class Counted:
    """Tokens of one prompt: `prompt` is all of them. Written for 5 minutes and for an hour."""

    prompt: int
    cached: int = 0
    written: int = 0
    written_1h: int = 0


class PrefixCache:
    def __init__(self) -> None:
        self._kept: set[bytes] = set()

    def openai(self, parts: Sequence[Part]) -> Counted:
        chain = _chain(parts)
        longest = max((tokens for name, tokens in chain if name in self._kept), default=0) // _STEP * _STEP
        self._kept.update(name for name, _ in chain)
        return Counted(chain[-1][1], longest if longest >= LEAST_TOKENS else 0)

    def anthropic(self, parts: Sequence[Part]) -> Counted:
        chain = _chain(parts)
        marks = [index for index, part in enumerate(parts) if part.mark and chain[index][1] >= LEAST_TOKENS]
        if not marks:
            return Counted(chain[-1][1])
        looked = [index for mark in marks for index in range(max(0, mark - _LOOK_BACK), mark + 1)]
        cached = max((chain[index][1] for index in looked if chain[index][0] in self._kept), default=0)
        written = max(0, chain[marks[-1]][1] - cached)
        self._kept.update(chain[index][0] for index in marks)
        hour = parts[marks[-1]].mark == "1h"
        return Counted(chain[-1][1], cached, 0 if hour else written, written if hour else 0)


def _chain(parts: Sequence[Part]) -> list[tuple[bytes, int]]:
    """Of each part: a name for all up to it, and their tokens."""
    chain, digest, size = [], hashlib.sha256(), 0
    for part in parts:
        data = part.text.encode()
        digest.update(len(data).to_bytes(8, "big") + data)
        size += len(data)
        chain.append((digest.digest(), -(-size // _BYTES)))
    return chain or [(b"", 1)]
