"""What the engine has generated and the log has not: how much of it makes an entry.

A write costs Redis and this process the same for one token as for four. So a token is written at once where the last
write was a while ago, and else with those that come within that while: Nagle's algorithm, with a clock in the
acknowledgement's place. What a killed process had not written is on no bill, so few tokens are held back.
"""

from __future__ import annotations

import asyncio

from services.models.engine.api import Finished, Token
from services.models.generation.attempt_log import Delta, Splitter

HELD_SECONDS = 0.02
MOST_TOKENS = 4


class PendingDeltas:
    """One task pushes, another takes. The end of a stage, of the text, and an error are due at once."""

    def __init__(self, splitter: Splitter) -> None:
        self._splitter = splitter
        self._deltas: list[Delta] = []
        self._is_due = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._taken_at = 0.0
        self._has_ended = False
        self._error: Exception | None = None

    @property
    def are_over(self) -> bool:
        """The text has ended, and all of it was taken."""
        return self._has_ended and not self._deltas

    def push(self, token: Token) -> None:
        for delta in self._splitter.push([token]):
            self._add(delta)
        if any(delta.stage for delta in self._deltas) or self._num_tokens >= MOST_TOKENS:
            self._is_due.set()
        else:
            self._is_due_soon()

    def pass_on(self, event: str) -> None:
        """An event of an API, for a caller who speaks its protocol."""
        self._add(Delta("", (), native=(event,)))
        self._is_due_soon()

    def finish(self, end: Finished) -> None:
        for delta in self._splitter.flush(end.text, str(end.reason)):
            self._add(delta)
        self._has_ended = True
        self._is_due.set()

    def fail(self, error: Exception) -> None:
        self._error = error
        self._is_due.set()

    async def take(self) -> list[Delta]:
        """What is due, as it becomes due. Raises the error with which the engine failed."""
        await self._is_due.wait()
        if self._error is not None:
            raise self._error
        self._is_due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._taken_at = asyncio.get_running_loop().time()
        taken, self._deltas = self._deltas, []
        return taken

    def _is_due_soon(self) -> None:
        if self._deltas and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(loop.time(), self._taken_at + HELD_SECONDS), self._is_due.set)

    @property
    def _num_tokens(self) -> int:
        return sum(len(delta.ids) for delta in self._deltas)

    def _add(self, new: Delta) -> None:
        """An entry ends one stage at most."""
        last = self._deltas[-1] if self._deltas else None
        if last is None or last.stage:
            self._deltas.append(new)
        else:
            native = last.native + new.native
            self._deltas[-1] = Delta(last.text + new.text, last.ids + new.ids, new.stage, native=native)
