"""Passes that only read, each counted in the request log before its result is returned; what that does not take, later."""

from __future__ import annotations

from functools import partial
from uuid import uuid4

from services.generation.late_writes import LateWrites
from services.request_log.ledger import Ledger, Pass
from tandem.method.errors import Unavailable
from tandem.method.tokens import TokenCounts


class CountedPasses:
    def __init__(self, ledger: Ledger, kind: Pass) -> None:
        self._ledger, self._kind = ledger, kind
        self._late = LateWrites()

    async def count(self, request_id: str, counts: TokenCounts) -> TokenCounts:
        """Counts of all the request's passes with this one, as far as the log can be read."""
        text = request_id, 0
        await self._late.settle(text)  # Redis may have a write whose reply was lost: it is owed no more
        add = partial(self._ledger.add_pass, request_id, self._kind, uuid4().hex, counts)
        try:
            known = await add()
        except Unavailable:
            self._late.add(text, add, counts)
            known = await self._readable(request_id)
        return known + self._late.owed(text)

    async def _readable(self, request_id: str) -> TokenCounts:
        """A Redis that takes no writes may still be read."""
        try:
            return await self._ledger.all_passes(request_id, self._kind)
        except Unavailable:
            return TokenCounts()
