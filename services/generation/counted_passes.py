"""Passes that only read, each counted in the request log before its result is returned; what that does not take, later."""

from __future__ import annotations

from functools import partial
from uuid import uuid4

from services.generation.late_writes import LateWrites
from services.request_log.ledger import Ledger, Pass, Passes, total
from tandem.method.errors import Unavailable
from tandem.method.tokens import TokenCounts


class CountedPasses:
    def __init__(self, ledger: Ledger, kind: Pass) -> None:
        self._ledger, self._kind = ledger, kind
        self._late = LateWrites()

    async def count(self, request_id: str, counts: TokenCounts, name: str | None = None) -> TokenCounts:
        """Counts of all the request's passes with this one, as far as the log can be read. `name`: where it is known by one."""
        text, name = (request_id, 0), name or uuid4().hex
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
        return total({**known, **owed})

    async def _readable(self, request_id: str) -> Passes:
        """A Redis that takes no writes may still be read."""
        try:
            return await self._ledger.all_passes(request_id, self._kind)
        except Unavailable:
            return {}
