"""One attempt of a model at one request: the engine's tokens go into the request log until the end or the stop.

Both writers of a request use it, the large model's insight and the small model's answer. Every token is counted in one
state: completion, overrun (generated after the stop) or discarded.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field, replace

from services.models.engine.api import Finished, Token
from services.models.engine.text import SpokenText
from services.models.generation.attempt_log import AttemptLog, UnloggedAttempt
from services.models.generation.journal import Page
from services.models.generation.late_writes import Write, is_taken
from services.models.generation.pending_deltas import PendingDeltas
from services.shared.observability.spans import Inference, InferenceSpan, report_discarded
from services.shared.request_log.connection import Stopped
from services.shared.request_log.streams import Closing, to_end
from tandem.method.errors import Fenced, Unavailable
from tandem.method.tokens import TokenCounts
from tandem.method.usage import beyond

_ABORT_AGAIN_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """What an attempt came to. `own` are the attempt's counts, `counts` those of every attempt of the role so far.
    Times are Unix seconds.

    `reported`: counts that earlier attempts reported while this one ran; they are in `counts`.
    """

    reason: str
    own: TokenCounts
    counts: TokenCounts
    first_token_at: float | None
    finished_at: float
    reported: TokenCounts = field(default_factory=TokenCounts)


class LoggedGeneration:
    """Runs one generation: a Writer's stream of `items`, which `abort` aborts, into the log by way of `pending`.

    `stop` may be called at any time from the event loop, also more than once.
    `close_later` is given what the log does not take at the end, and the tokens that no log knows until then. `page`
    has the counts where this process dies. `spoken`: of a text that may call tools. `is_watched`: somebody reads
    `so_far`.
    """

    def __init__(
        self,
        log: AttemptLog | UnloggedAttempt,
        items: AsyncGenerator[Token | Finished, None],
        abort: Callable[[], bool],
        pending: PendingDeltas,
        inference: Inference,
        close_later: Callable[[Write, TokenCounts], None],
        page: Page,
        spoken: SpokenText | None = None,
        is_watched: bool = False,
    ) -> None:
        self._log, self._items, self._abort, self._pending = log, items, abort, pending
        self._close_later, self._page, self._spoken, self._is_watched = close_later, page, spoken, is_watched
        self.so_far = ""  # the text and the pieces of calls, as far as they are generated
        self._prompt_tokens = 0  # that were computed for the first token
        self._generated_at: list[float] = []
        self._decided_at: float | None = None
        self._end: Finished | None = None
        self._lost_prompt: int | None = None  # of an API that failed, as far as is known
        self.result: AttemptResult | None = None
        self._inference, self._span = inference, InferenceSpan(inference)

    def stop(self, decided_at: float) -> None:
        """Abort; tokens generated after `decided_at` (Unix seconds, the earliest that was given) are overrun."""
        self._decided_at = min(decided_at, self._decided_at or decided_at)
        self._abort()

    async def stages(self) -> AsyncGenerator[int, None]:
        """Run to the end, yielding each stage as the log acknowledges it, 0 for what ends none; then `result` is set.

        Raises Fenced when a newer attempt took over, Unavailable when the log cannot be written (the counts are in its
        metadata), and what the engine raises. The engine has stopped computing by then. Close it with `aclosing`.
        """
        pump, reports_usage = asyncio.create_task(self._pump()), True
        try:
            while not self._pending.are_over:
                if self._decided_at is not None:  # stopped before the engine had the request
                    self._abort()
                for delta in await self._pending.take():
                    said = self._spoken.push(delta.text) if self._spoken else 0
                    await self._log.log(replace(delta, said=said), self._prompt_tokens)
                    if delta.stage or self._is_watched:
                        yield delta.stage
        except Stopped as stopped:
            self.stop(stopped.decided_at)
        except Fenced:
            reports_usage = False  # the attempt that fenced this one off has reported what it found
            raise
        except Unavailable as error:
            reports_usage = False  # the next attempt or settlement reports what the log or the error has
            await self._abort_and_wait(pump)
            error.metadata.update(self._lost_counts())
            raise
        finally:
            await self._abort_and_wait(pump)
            await self._settle(reports_usage)
            self._end_span(reports_usage)

    async def _pump(self) -> None:
        """A slow log never delays the engine."""
        try:
            async for item in self._items:
                if isinstance(item, Finished):
                    self._end = item
                    self._pending.finish(item)
                else:
                    self._see(item)
                    self._pending.push(item)
        except Exception as error:
            self._lost_prompt = getattr(error, "prompt_tokens", None)
            self._pending.fail(error)

    def _see(self, token: Token) -> None:
        if not self._generated_at and token.prompt_computed is not None:
            self._prompt_tokens = token.prompt_computed
        self._generated_at.append(token.generated_at)
        if self._is_watched:
            self.so_far += token.text + token.piece
        self._page.count(self._prompt_tokens, len(self._generated_at))

    async def _abort_and_wait(self, pump: asyncio.Task[None]) -> None:
        """Wait for the engine's final usage, which a second cancel of the caller must not lose.

        Abort repeatedly, because the engine may receive the request only after the first abort.
        """
        while not pump.done():
            self._abort()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({pump}, timeout=_ABORT_AGAIN_SECONDS)

    def _lost_counts(self) -> dict[str, str]:
        """The counts of an attempt that failed with the log, for the error's metadata: all of it is discarded."""
        prompt = self._end.usage.prompt if self._end else 0
        earlier = self._log.resumption.earlier
        discarded = earlier.generated + len(self._generated_at)
        return {"input_tokens": str(earlier.prompt + prompt), "discarded_tokens": str(discarded)}

    def _end_span(self, reports_usage: bool) -> None:
        if self.result is None:
            self._span.end("error", None, None)
            return
        self._span.end(self.result.reason, self.result.first_token_at, self.result.own if reports_usage else None)
        if reports_usage:
            earlier = replace(self._inference, attempt=self._log.resumption.previous_epoch)
            report_discarded(earlier, self.result.reported)

    async def _settle(self, is_on_span: bool) -> None:
        if self.result is not None:
            return
        generated, logged = len(self._generated_at), self._log.tokens
        if self._end is None:
            # The engine has failed. The next attempt, or settlement, reports what the log has by then.
            prompt = self._prompt_tokens if generated else 0
            prompt = prompt if self._lost_prompt is None else self._lost_prompt
            await to_end(self._close(Closing("aborted", prompt, generated, is_on_span=False)))
            return
        own = self._own_counts(self._end, generated, logged)
        # One that ended by itself has not ended in the log, where that lacks a part of it.
        reason = "aborted" if own.discarded else str(self._end.reason)
        first = self._generated_at[0] if self._generated_at else None
        counts = self._log.resumption.earlier + own
        self.result = AttemptResult(reason, own, counts, first, self._end.halted_at)
        is_stopped = self._decided_at is not None
        reported = await to_end(self._close(Closing(reason, own.prompt, generated, is_stopped, is_on_span)))
        self.result = replace(self.result, counts=counts + reported, reported=reported)

    async def _close(self, closing: Closing) -> TokenCounts:
        """The caller still gets the counts from `result`, if it lives; without a log it does not wait for one.

        Returns the counts that earlier attempts have reported since this one began.
        """
        reported = TokenCounts()

        async def close() -> None:
            nonlocal reported
            reported = await self._log.close(closing)
            self._page.remove()

        if self._log.is_logged and await is_taken(close):
            return reported
        known = self._log.tokens if self._log.is_logged else 0
        logged = TokenCounts(prompt=closing.prompt if known else 0, completion=known)
        self._close_later(close, beyond(TokenCounts(prompt=closing.prompt, discarded=closing.generated), logged))
        return reported

    def _own_counts(self, end: Finished, generated: int, logged: int) -> TokenCounts:
        """Each generated token in one state. Without a stop, tokens that the log did not take are discarded."""
        decided_at = self._decided_at
        overrun = 0 if decided_at is None else sum(at > decided_at for at in self._generated_at)
        discarded = generated - logged if decided_at is None else 0
        completion = generated - overrun - discarded
        return replace(end.usage, completion=completion, overrun=overrun, discarded=discarded)
