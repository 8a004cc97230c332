"""What one attempt writes into the request log, in entries, and what it does where there is no log to write to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from services.models.engine.api import Token
from services.shared.request_log.connection import Lost
from services.shared.request_log.streams import Closing, Resumption, StreamWriter
from tandem.method.errors import Unavailable
from tandem.method.tokens import TokenCounts


@dataclass(frozen=True, slots=True)
class Delta:
    """Tokens for one entry of the log; `stage` > 0 says that they end that stage. `said`, `native`:
    see services.shared.request_log.transcript.Entry.
    """

    text: str
    ids: tuple[int, ...]
    stage: int = 0
    said: int = 0
    native: tuple[str, ...] = ()


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


Begin = Callable[[], Awaitable[StreamWriter]]
"""Takes the stream over. May be called again by the same attempt."""


class UnloggedAttempt:
    """Takes an AttemptLog's place where there is no log to write to: the work goes on, and readers see nothing of it.

    `earlier`: what is known of earlier attempts. `begin` is called at the end, so that the ledger has the attempt's
    tokens.
    """

    is_logged = False

    def __init__(self, begin: Begin, earlier: TokenCounts) -> None:
        self._begin = begin
        self.resumption = Resumption(counts=earlier)
        self.text, self.tokens = "", 0

    async def log(self, delta: Delta, prompt_tokens: int) -> None:
        self.text += delta.text
        self.tokens += len(delta.ids)

    async def close(self, closing: Closing) -> TokenCounts:
        """May be called again. Raises Fenced, Unavailable."""
        writer = await self._begin()
        return await writer.close(replace(closing, reason="aborted"))  # the log has no text that could have ended


class AttemptLog:
    """The stream of an attempt, written again where Redis has lost it, by what `begin` returns where it has lost
    all.
    """

    is_logged = True

    def __init__(self, begin: Begin, writer: StreamWriter) -> None:
        self._begin, self._writer = begin, writer
        self.resumption = writer.resumption
        self._deltas: list[Delta] = []

    @property
    def text(self) -> str:
        """What this attempt has logged."""
        return "".join(delta.text for delta in self._deltas)

    @property
    def tokens(self) -> int:
        """Those that this attempt has logged, as far as it knows."""
        return self._writer.tokens - self.resumption.tokens

    async def log(self, delta: Delta, prompt_tokens: int) -> None:
        """The first entry also books the prompt: it has been prefilled when there is a token.

        Raises Stopped, Fenced, Unavailable.
        """
        try:
            await self._append(delta, prompt_tokens)
        except Lost as lost:
            await self._write_again(lost, prompt_tokens)
            await self._append(delta, prompt_tokens)
        self._deltas.append(delta)

    async def close(self, closing: Closing) -> TokenCounts:
        """Counts that fenced-off attempts have reported since this one began. May be called again after Unavailable.

        Raises Stopped, Fenced, Unavailable.
        """
        try:
            return await self._writer.close(closing)
        except Lost as lost:
            await self._write_again(lost, closing.prompt)
            return await self._writer.close(closing)

    async def _append(self, delta: Delta, prompt_tokens: int) -> None:
        is_first = self._writer.tokens == self.resumption.tokens
        prompt = prompt_tokens if is_first and delta.ids else 0  # an event of an API has no token
        await self._writer.append(delta.text, delta.ids, delta.stage, prompt, delta.said, delta.native)

    async def _write_again(self, lost: Lost, prompt_tokens: int) -> None:
        """Write what this attempt still has of what Redis lost: the whole stream, or its last entries."""
        if lost.seq is None:
            await self._begin_again()
            missing = self._deltas
        else:
            missing = self._rewound(lost.seq)
        for delta in missing:
            await self._append(delta, prompt_tokens)

    async def _begin_again(self) -> None:
        """Raises Unavailable where an earlier attempt's text was in the stream: nobody has it any more."""
        if self.resumption.tokens:
            raise _lost_for_good()
        writer = await self._begin()
        if writer.resumption.tokens:
            raise _lost_for_good()
        self._writer = writer

    def _rewound(self, seq: int) -> list[Delta]:
        """What is missing after entry `seq`. Raises Unavailable where that is an earlier attempt's."""
        began = self._writer.resumption
        num_kept = seq - began.seq
        if num_kept < 0:
            raise _lost_for_good()
        self._writer.rewind(seq, began.tokens + sum(len(delta.ids) for delta in self._deltas[:num_kept]))
        return self._deltas[num_kept:]


def _lost_for_good() -> Unavailable:
    return Unavailable("the request log lost what an earlier attempt wrote", reason="REQUEST_LOG_LOST")
