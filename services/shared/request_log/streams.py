"""The streams of a request: insight and answer, each with one writer at a time and any number of readers.

A writer owns its stream by epoch: a higher one fences it off, so that a write of a lost attempt is void. Its writes are
numbered, so that one that is sent twice is made once, and the log refuses gaps.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from datetime import timedelta
from typing import Any, Literal, TypeVar
from uuid import uuid4

from services.shared.request_log.connection import STAGES, Connection, Lost, Role, key, translated_errors
from services.shared.request_log.sealed_text import SealedText
from services.shared.request_log.transcript import Transcript, parse_entry, written_ids
from tandem.method.errors import FailedPrecondition
from tandem.method.tokens import TokenCounts

PAGE = 256
"""Entries of one stream that a read returns at most."""
_RENEWED_SHARE = 0.1  # of the time to live: an append within it does not touch what expires
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Resumption:
    """Where a writer begins. `tokens` and `stage` are what an earlier epoch left that counts; `counts` is the role's
    ledger.

    `previous_epoch` is 0 when Redis knows of none: there was none, or Redis has lost it. `unreported` are tokens of
    attempts that died before their span was exported.
    """

    seq: int = 0
    tokens: int = 0
    stage: int = 0
    counts: TokenCounts = field(default_factory=TokenCounts)
    previous_epoch: int = 0
    unreported: TokenCounts = field(default_factory=TokenCounts)

    @property
    def earlier(self) -> TokenCounts:
        """Everything that the log knows of earlier attempts."""
        return self.counts + TokenCounts(completion=self.tokens)


@dataclass(frozen=True, slots=True)
class Closing:
    """A writer's last entry, with all tokens of its attempt. Those that are in no entry are discarded, or `is_stopped`:
    the stop is why. `is_on_span`: its span reports them.
    """

    reason: str
    prompt: int
    generated: int
    is_stopped: bool = False
    is_on_span: bool = True


class StreamWriter:
    """The owner of one stream under one epoch. Every write raises Stopped, Fenced, Lost, Unavailable."""

    def __init__(self, writes: Writes, sealed: SealedText, resumption: Resumption) -> None:
        self._writes, self._sealed = writes, sealed
        self.resumption = resumption
        self._seq = resumption.seq
        self.tokens = resumption.tokens

    async def append(
        self,
        text: str,
        ids: Sequence[int],
        stage: int = 0,
        prompt_tokens: int = 0,
        said: int = 0,
        native: Sequence[str] = (),
    ) -> None:
        """Add `ids` with their text; `stage` > 0 ends that stage; `prompt_tokens` were prefilled for them; `said` and
        `native`: see Entry.
        """
        await to_end(self._append(text, written_ids(ids, said, native), len(ids), stage, prompt_tokens))

    async def close(self, closing: Closing) -> TokenCounts:
        """End the stream. May be called again with the same `closing` after Unavailable, and by a writer that is fenced
        off.

        Returns the counts that such writers have reported since this one began.
        """
        reason, *numbers = astuple(closing)
        prompt, generated = await to_end(self._writes.make("close", reason, *map(int, numbers), self._seq))
        return TokenCounts(prompt=int(prompt), discarded=int(generated))

    def rewind(self, seq: int, tokens: int) -> None:
        """Go on after entry `seq`, where the stream has `tokens`: the log has lost what came later."""
        self._seq, self.tokens = seq, tokens

    async def _append(self, text: str, listed: str, num_tokens: int, stage: int, prompt_tokens: int) -> None:
        tokens, seq = self.tokens + num_tokens, self._seq + 1
        text, listed, key_name = self._sealed.delta(self._writes.request_id, self._writes.role, seq, text, listed)
        await self._writes.make("append", seq, tokens, text, listed, stage, prompt_tokens, key_name)
        self._seq = seq
        self.tokens = tokens


class Streams:
    """Every read of text raises FailedPrecondition where this process lacks its key."""

    def __init__(self, connection: Connection, sealed: SealedText) -> None:
        self._connection, self._sealed = connection, sealed

    async def begin(
        self, request_id: str, role: Role, epoch: int, keep: Literal["stage", "token"], trial: int = 0, name: str = ""
    ) -> StreamWriter:
        """Take the role's stream over from any lower epoch; a higher `trial` than before begins a new text and ledger.

        A writer that does not know whether it has begun may begin again under its `name`, which no other has.
        Raises Fenced when a higher epoch has the stream, or another writer under this one.
        """
        writes = Writes(self._connection, request_id, role, epoch, name or uuid4().hex)
        return StreamWriter(writes, self._sealed, _resumption(await writes.make("begin", keep, trial)))

    async def close(self, request_id: str, role: Role, epoch: int, closing: Closing) -> None:
        """In the place of a writer that has died: what it generated and the log lacks is discarded. Nothing where it
        has closed.

        Raises Fenced, Lost, Unavailable.
        """
        reason, *numbers = astuple(closing)
        await Writes(self._connection, request_id, role, epoch, uuid4().hex).make(
            "close", reason, *map(int, numbers), 0
        )

    async def read(self, request_id: str, role: Role) -> Transcript:
        with translated_errors():
            raw = await self._connection.redis.xrange(key(request_id, role))
        transcript = Transcript()
        for entry_id, fields in raw:
            transcript.apply(parse_entry(entry_id, self._sealed.opened(request_id, role, entry_id, fields)))
        return transcript

    async def insight(self, request_id: str, stage: int) -> str:
        """Text up to the end of `stage`; 0 is empty and needs no read. Raises FailedPrecondition when the log lacks
        it.
        """
        text = (await self.read(request_id, Role.INSIGHT)).text_to_stage(stage) if stage else ""
        if text is None:
            raise FailedPrecondition(
                f"the request log has no stage {stage} of request {request_id!r}", reason="STAGE_LOST"
            )
        return text

    async def tail(
        self, request_id: str, cursors: Mapping[str, str], block: timedelta
    ) -> dict[str, list[tuple[str, dict[str, str]]]]:
        """New raw entries of some of a request's streams after `cursors`, PAGE of each at most; empty when none came
        within `block`.
        """
        names = {key(request_id, name): name for name in cursors}
        news = await self._connection.read_new({k: cursors[name] for k, name in names.items()}, block, PAGE)
        return {
            names[k]: [(i, self._sealed.opened(request_id, names[k], i, f)) for i, f in entries]
            for k, entries in news.items()
        }

    async def lengths(self, request_id: str) -> dict[str, tuple[int, int]]:
        """(entries, epoch of the last writer) of the insight and of the answer; zeros where Redis knows of none."""
        names = [f"{role}:{name}" for role in Role for name in ("seq", "epoch")]
        with translated_errors():
            values = await self._connection.redis.hmget(key(request_id, "state"), names)
        numbers = [int(value or 0) for value in values]
        return dict(zip(map(str, Role), zip(numbers[::2], numbers[1::2], strict=True), strict=True))

    async def follow_stages(
        self, request_id: str, block: timedelta = timedelta(seconds=1)
    ) -> AsyncIterator[Transcript]:
        """The insight's transcript without the deltas between the ends of stages, each time a stage or the whole ends.

        If Redis lost the stream, the transcript starts again empty.
        """
        transcript = Transcript()
        while True:
            news = (await self.tail(request_id, {STAGES: transcript.cursor}, block)).get(STAGES)
            if news:
                for entry in news:
                    transcript.apply(parse_entry(*entry))
            elif await self._was_lost(request_id, transcript.cursor):
                transcript = Transcript()
            yield transcript

    async def _was_lost(self, request_id: str, cursor: str) -> bool:
        with translated_errors():
            seq = await self._connection.redis.hget(key(request_id, "state"), f"{Role.INSIGHT}:seq")
        return int(seq or 0) < int(cursor.split("-")[0])


def _resumption(reply: Sequence[str]) -> Resumption:
    seq, tokens, stage, prompt, discarded, epoch, unreported_prompt, unreported_generated = map(int, reply)
    return Resumption(
        seq,
        tokens,
        stage,
        TokenCounts(prompt=prompt, discarded=discarded),
        epoch,
        TokenCounts(prompt=unreported_prompt, discarded=unreported_generated),
    )


class Writes:
    """begin, append and close of one writer. A write that is given again, because its reply did not come, keeps its
    number.

    `name` distinguishes the writer from others of its epoch.
    """

    def __init__(self, connection: Connection, request_id: str, role: Role, epoch: int, name: str) -> None:
        self._connection, self.request_id, self.role, self._epoch = connection, request_id, role, epoch
        self._name, self._number = name, 0
        self._last: tuple[Any, ...] = ()
        self._renewed_at = 0.0

    async def make(self, *write: Any) -> list[str]:
        """`write`: the command and its arguments. Raises Stopped, Fenced, Lost, Unavailable."""
        if write != self._last:
            self._last, self._number = write, self._number + 1
        command, *arguments = write
        sent_at = time.monotonic()
        renews = sent_at - self._renewed_at > self._connection.ttl_ms / 1000 * _RENEWED_SHARE
        try:
            reply = await self._connection.run_script(
                *(self.request_id, self.role, self._epoch, command, self._name, self._number, *arguments, int(renews)),
                repeats=True,
            )
            if renews and command == "append":  # whose keys a begin has not made yet
                self._renewed_at = sent_at
            return reply
        except Lost:
            self._last = ()  # what is missing is written first, and then this as a new write
            raise


async def to_end(write: Coroutine[Any, Any, T]) -> T:
    """Wait for a write that has begun, also when the caller is cancelled: it may have been applied, and be counted
    twice.
    """
    task = asyncio.create_task(write)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise
