"""How the engine's tokens are cut into entries of the request log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from services.engine.api import Token


@dataclass(frozen=True, slots=True)
class Delta:
    """Tokens for one entry of the log; `stage` > 0 says that they end that stage."""

    text: str
    ids: tuple[int, ...]
    stage: int = 0


class Splitter(Protocol):
    """Cuts the engine's tokens into deltas, each of which may end a stage."""

    def push(self, tokens: Sequence[Token]) -> list[Delta]: ...

    def flush(self, rest: str, reason: str) -> list[Delta]:
        """What is left at the end; `rest` is text that belongs to tokens pushed before."""
        ...


class WholeSplitter:
    """No stages: tokens are logged as they come."""

    def push(self, tokens: Sequence[Token]) -> list[Delta]:
        return [Delta("".join(t.text for t in tokens), tuple(t.id for t in tokens))] if tokens else []

    def flush(self, rest: str, reason: str) -> list[Delta]:
        return [Delta(rest, ())] if rest else []
