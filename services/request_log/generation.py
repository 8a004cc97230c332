"""One attempt of a model at one request: the engine's tokens go into the request log until the end or the stop.

Both writers of a request use it, the large model's insight and the small model's answer. Every token is counted in one
state (ledger): kept, made after the stop (overrun), or lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard

from services.observability.tracing import Inference, InferenceSpan
from services.request_log.log import Closing, Lost, Resumption, Stop, Stopped, Writer
from services.request_log.transcript import Transcript
from tandem.method.errors import Fenced, TandemError, Unavailable

_ABORT_AGAIN_SECONDS = 0.05


class GeneratedToken(Protocol):
    """A token of the engine, as far as the log is concerned. `generated_at` is Unix time in seconds."""

    @property
    def id(self) -> int: ...

    @property
    def text(self) -> str: ...

    @property
    def generated_at(self) -> float: ...

    @property
    def prompt_computed(self) -> int | None:
        """On the first token: how much of the prompt was computed for it, where the engine tells."""
        ...


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens for one entry of the log; `stage` > 0 says that they end that stage."""

    text: str
    ids: tuple[int, ...]
    stage: int = 0


class Splitter(Protocol):
    """Cuts the engine's tokens into pieces, each of which may end a stage."""

    def push(self, tokens: Sequence[GeneratedToken]) -> list[Piece]: ...

    def flush(self, rest: str, reason: str) -> list[Piece]:
        """What is left at the end; `rest` is text that belongs to tokens seen before."""
        ...


class WholeSplitter:
    """No stages: what comes is logged as it comes."""

    def push(self, tokens: Sequence[GeneratedToken]) -> list[Piece]:
        return [Piece("".join(t.text for t in tokens), tuple(t.id for t in tokens))] if tokens else []

    def flush(self, rest: str, reason: str) -> list[Piece]:
        return [Piece(rest, ())] if rest else []


class UnloggedWriter:
    """Stands in for a Writer where there is no log to write to: the work goes on, unseen by readers."""

    def __init__(self) -> None:
        self.resumption = Resumption()
        self.tokens = 0

    async def append(self, text: str, ids: Sequence[int], stage: int = 0, input_tokens: int = 0) -> None:
        self.tokens += len(ids)

    async def close(self, closing: Closing) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Attempt:
    """What an attempt came to. Token counts cover every attempt of this role so far; `read` and `made` are its own."""

    reason: str
    read: int
    made: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    overrun_tokens: int
    discarded_tokens: int
    first_token_at: float | None
    halted_at: float
    is_estimated: bool = False  # an API that was cut off has told no usage


class RunningAttempts:
    """The attempts that run in this process, so that a stop finds the one it means."""

    def __init__(self) -> None:
        self._running: dict[str, tuple[int, LoggedGeneration]] = {}

    @contextlib.contextmanager
    def track(self, request_id: str, epoch: int, generation: LoggedGeneration) -> Iterator[None]:
        self._running[request_id] = (epoch, generation)
        try:
            yield
        finally:
            if self._running.get(request_id) == (epoch, generation):
                del self._running[request_id]

    def stop(self, stop: Stop) -> bool:
        """Halt the attempt that `stop` names, or an older one (epoch 0: any). False: none such runs here."""
        epoch, generation = self._running.get(stop.request_id, (0, None))
        if generation is None or (stop.epoch and epoch > stop.epoch):
            return False
        generation.stop(stop.decided_at)
        return True


def finished_before(transcript: Transcript, writer: Writer | UnloggedWriter) -> Attempt:
    """The outcome of a stream that an earlier attempt completed, or filled to its cap, but did not live to report."""
    resumed = writer.resumption
    return Attempt(
        reason=transcript.end.reason if transcript.end else "length",
        read=0,
        made=0,
        input_tokens=resumed.input_tokens,
        cached_input_tokens=0,
        output_tokens=resumed.tokens,
        overrun_tokens=0,
        discarded_tokens=resumed.discarded_tokens,
        first_token_at=None,
        halted_at=time.time(),
    )


class LoggedGeneration:
    """Runs one generation. `stop` may be called at any time from the event loop, also more than once.

    `begin` takes the stream over (again, when Redis has lost it); `stream` is the engine's generator, `abort` halts it;
    `prompt_tokens` is what the engine reads before the first token, unless that token tells.
    """

    def __init__(
        self,
        begin: Callable[[], Awaitable[Writer | UnloggedWriter]],
        writer: Writer | UnloggedWriter,
        stream: AsyncGenerator[Any, None],
        abort: Callable[[], bool],
        prompt_tokens: int,
        splitter: Splitter,
        inference: Inference,
    ) -> None:
        self._begin, self._writer, self._stream, self._abort = begin, writer, stream, abort
        self._prompt_tokens, self._splitter = prompt_tokens, splitter
        self._resumption: Resumption = writer.resumption
        self._items: asyncio.Queue[Any] = asyncio.Queue()
        self._kept: list[Piece] = []
        self._made_at: list[float] = []
        self._decided_at: float | None = None
        self._end: Any = None  # the engine's Finished
        self.attempt: Attempt | None = None
        self._span = InferenceSpan(inference)

    @property
    def text(self) -> str:
        """What this attempt has logged."""
        return "".join(piece.text for piece in self._kept)

    def stop(self, decided_at: float) -> None:
        """Halt the engine; tokens made after `decided_at` (Unix seconds, the earliest that was told) are overrun."""
        self._decided_at = min(decided_at, self._decided_at or decided_at)
        self._abort()

    async def stages(self) -> AsyncGenerator[int, None]:
        """Run to the end, yielding each stage as the log acknowledges it; then `attempt` is set.

        Raises Fenced when a newer attempt took over, Unavailable when the log cannot be written (what was made is in
        its metadata), and what the engine raises. The engine has halted by then. Close it with `aclosing`.
        """
        pump, tells_usage = asyncio.create_task(self._pump()), True
        try:
            while self._end is None or not self._items.empty():
                if self._decided_at is not None:  # told before the engine had the request
                    self._abort()
                for piece in await self._next_pieces():
                    await self._log(piece)
                    if piece.stage:
                        yield piece.stage
        except Stopped as stopped:
            self.stop(stopped.decided_at)
        except Fenced:
            tells_usage = False  # the attempt that fenced this one off has told what it found
            raise
        except Unavailable as error:
            tells_usage = False  # who settles the bill tells what the error carries
            await self._halt(pump)
            error.metadata.update(self._spent())
            raise
        finally:
            await self._halt(pump)
            await self._settle()
            self._end_span(tells_usage)

    async def _pump(self) -> None:
        try:
            async for item in self._stream:
                if _is_token(item):
                    if not self._made_at and item.prompt_computed is not None:
                        self._prompt_tokens = item.prompt_computed
                    self._made_at.append(item.generated_at)
                else:
                    self._end = item
                self._items.put_nowait(item)
        except Exception as error:
            self._items.put_nowait(error)

    async def _next_pieces(self) -> list[Piece]:
        """Everything that the engine has made since the last write, so that a slow log never holds the engine up."""
        items = [await self._items.get()]
        while not self._items.empty():
            items.append(self._items.get_nowait())
        if isinstance(items[-1], Exception):
            raise items[-1]
        pieces = self._splitter.push([item for item in items if _is_token(item)])
        if items[-1] is self._end:
            pieces += self._splitter.flush(self._end.text, str(self._end.reason))
        return pieces

    async def _log(self, piece: Piece) -> None:
        try:
            await self._append(piece)
        except Lost:
            await self._publish_again()
            await self._append(piece)
        self._kept.append(piece)

    async def _append(self, piece: Piece) -> None:
        """The first entry also books the prompt: it has been read when there is a token."""
        prompt_tokens = self._prompt_tokens if self._writer.tokens == self._resumption.tokens else 0
        await self._writer.append(piece.text, piece.ids, piece.stage, prompt_tokens)

    async def _publish_again(self) -> None:
        """Redis lost the stream: the attempt writes down again what it still knows."""
        if self._resumption.tokens:
            raise Unavailable("the request log lost what an earlier attempt wrote", reason="REQUEST_LOG_LOST")
        self._writer = await self._begin()
        for piece in self._kept:
            await self._append(piece)

    async def _halt(self, pump: asyncio.Task[None]) -> None:
        """Abort and wait for the engine's last word; a second cancel of the caller must not lose the count.

        Again and again, because the engine may get the request only after the first time.
        """
        while not pump.done():
            self._abort()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({pump}, timeout=_ABORT_AGAIN_SECONDS)

    def _spent(self) -> dict[str, str]:
        """The ledger of an attempt that failed with the log: nothing of it counts."""
        read = self._end.usage.prompt if self._end else 0
        return {
            "input_tokens": str(self._resumption.input_tokens + read),
            "discarded_tokens": str(self._resumption.discarded_tokens + self._resumption.tokens + len(self._made_at)),
        }

    def _end_span(self, tells_usage: bool) -> None:
        attempt = self.attempt
        if attempt is None:
            self._span.end("error", None, None)
            return
        usage = (attempt.read, attempt.cached_input_tokens, attempt.made) if tells_usage else None
        self._span.end(attempt.reason, attempt.first_token_at, usage)

    async def _settle(self) -> None:
        if self._end is None or self.attempt is not None:
            return
        made, logged = len(self._made_at), self._writer.tokens - self._resumption.tokens
        decided = self._decided_at is not None
        overrun = sum(at > self._decided_at for at in self._made_at) if self._decided_at is not None else 0
        lost = 0 if decided else made - logged
        usage = self._end.usage
        self.attempt = Attempt(
            reason=str(self._end.reason),
            read=usage.prompt,
            made=made,
            input_tokens=self._resumption.input_tokens + usage.prompt,
            cached_input_tokens=usage.cached,
            output_tokens=self._resumption.tokens + made - overrun - lost,
            overrun_tokens=overrun,
            discarded_tokens=self._resumption.discarded_tokens + lost,
            first_token_at=self._made_at[0] if self._made_at else None,
            halted_at=self._end.halted_at,
            is_estimated=usage.is_estimated,
        )
        closing = Closing(
            reason=self.attempt.reason,
            lost=lost,
            unlogged=made - logged - lost,
            unbooked_prompt=usage.prompt if logged == 0 else 0,
            read=usage.prompt,
            made=made,
        )
        with contextlib.suppress(TandemError, Lost):  # the caller has the count in `attempt` all the same
            await self._writer.close(closing)


def _is_token(item: Any) -> TypeGuard[GeneratedToken]:
    """By one attribute: asked for every token, and a protocol's own check costs as much as writing it down."""
    return hasattr(item, "generated_at")
