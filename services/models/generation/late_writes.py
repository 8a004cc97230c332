"""Token counts in the request log, and those that it did not take: written again until it does, because they stand
nowhere else.

The caller may have died with the counts that it received. Its next attempt begins with what the log has by then.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from uuid import uuid4

from services.shared.request_log.connection import Lost, Stopped
from services.shared.request_log.ledger import Ledger, Pass, Passes
from tandem.method.errors import RequestLogUnavailable, TandemError, Unavailable
from tandem.method.timeouts import Timeouts
from tandem.method.tokens import TokenCounts
from tandem.method.usage import merged, total

logger = logging.getLogger(__name__)

_TRY_AGAIN_SECONDS = 0.5
_MOST = 10_000
_FORGET_AFTER_SECONDS = Timeouts.activity.total_seconds()  # no attempt comes later

Write = Callable[[], Awaitable[object]]
"""May be called again after Unavailable."""


@dataclass(frozen=True, slots=True)
class TextId:
    """What has a ledger: a request's insight and answer (0), or one of its trials."""

    request_id: str
    trial: int = 0


@dataclass(frozen=True, slots=True)
class _Late:
    write: Write
    owed: TokenCounts
    name: str
    since: float


class LateWrites:
    def __init__(self) -> None:
        self._late: dict[TextId, list[_Late]] = {}
        self._lock = asyncio.Lock()
        self._trying: asyncio.Task[None] | None = None

    def add(self, text: TextId, write: Write, owed: TokenCounts, name: str = "") -> None:
        """Call `write` until the log takes it. `owed`: tokens that no log knows until then, of a pass that has a
        `name`.
        """
        self._late.setdefault(text, []).append(_Late(write, owed, name, time.monotonic()))
        if len(self._late) > _MOST:
            self._give_up(next(iter(self._late)))
        if self._trying is None or self._trying.done():
            self._trying = asyncio.create_task(self._try())

    def owed(self, text: TextId) -> TokenCounts:
        return sum((late.owed for late in self._late.get(text, ())), TokenCounts())

    def owed_by_name(self, text: TextId) -> dict[str, TokenCounts]:
        return {late.name: late.owed for late in self._late.get(text, ())}

    async def settle(self, text: TextId) -> None:
        """Before another attempt takes the stream over, and an older one may not write any more."""
        while text in self._late:
            async with self._lock:
                if text in self._late and not await is_taken(self._late[text][0].write):
                    return
                self._drop_first(text)

    def _drop_first(self, text: TextId) -> None:
        rest = self._late.pop(text, [])[1:]
        if rest:
            self._late[text] = rest

    async def _try(self) -> None:
        while self._late:
            for text in list(self._late):
                await self.settle(text)
            self._forget()
            await asyncio.sleep(_TRY_AGAIN_SECONDS if self._late else 0)

    def _forget(self) -> None:
        for text, [first, *_] in list(self._late.items()):
            if time.monotonic() - first.since > _FORGET_AFTER_SECONDS:
                self._give_up(text)

    def _give_up(self, text: TextId) -> None:
        logger.warning("tokens of %s are in no log: %s", text.request_id, self.owed(text))
        del self._late[text]


async def is_taken(write: Write) -> bool:
    """Call it. False where Redis does not answer."""
    try:
        await write()
    except RequestLogUnavailable:
        return False
    except (TandemError, Lost, Stopped):  # fenced off: what another attempt began with does not change any more
        return True
    return True


class CountedPasses:
    def __init__(self, ledger: Ledger, kind: Pass) -> None:
        self._ledger, self._kind = ledger, kind
        self._late = LateWrites()

    async def count(self, request_id: str, counts: TokenCounts, name: str | None = None) -> TokenCounts:
        """Counts of all the request's passes with this one, as far as the log can be read. `name`: where it is known by
        one.
        """
        text, name = TextId(request_id), name or uuid4().hex
        await self._late.settle(text)
        add = partial(self._ledger.add_pass, request_id, self._kind, name, counts)
        owed = self._late.owed_by_name(text)
        try:
            known = await add()
        except Unavailable:
            self._late.add(text, add, counts, name)
            owed |= {name: counts}
            known = await self._readable(request_id)
        # Redis may have what is owed: a write whose reply was lost, or has not come yet.
        return total(merged(known, owed))

    async def _readable(self, request_id: str) -> Passes:
        """A Redis that takes no writes may still be read."""
        try:
            return await self._ledger.all_passes(request_id, self._kind)
        except Unavailable:
            return {}
