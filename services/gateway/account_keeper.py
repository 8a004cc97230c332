"""Looks into holds that nobody settled: the gateway died before it started the request, or Redis or the worker at its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Container, Mapping
from datetime import timedelta

from services.gateway.records import Status
from services.gateway.tenancy import Tenancy
from services.observability.metrics import export_used_limits
from services.request_log.accounts import Accounts, DueHold
from tandem.method.bound import charge_of
from tandem.method.errors import NotFound, TandemError

logger = logging.getLogger(__name__)
_PAUSE = timedelta(seconds=10)
_LOOK_AGAIN = timedelta(seconds=60)
_NEAR, _MOST_UNNAMED = 0.5, 200


class AccountKeeper:
    """`status` is Temporal's word on a request. Two gateways that look at once do no harm: an account settles once."""

    def __init__(self, tenancy: Tenancy, accounts: Accounts, status: Callable[[str], Awaitable[Status]]) -> None:
        self._tenancy, self._accounts, self._status = tenancy, accounts, status

    async def keep(self, pause: timedelta = _PAUSE) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(pause.total_seconds())
            try:
                await self.look()
            except TandemError as error:
                logger.warning("tenants' accounts were not looked into: %s", error)

    async def look(self) -> None:
        """Settle, release or leave each hold that is due, and export how much of each limit is used. Raises Unavailable."""
        named = self._tenancy.tenants.by_name
        known = {*self._tenancy.seen, *named}
        for tenant in known:
            for hold in await self._accounts.due(tenant, self._tenancy.clock()):
                await self._look_into(tenant, hold)
        used = {
            (tenant, each.limit): each.ratio
            for tenant in known
            for each in await self._tenancy.used_by(tenant)
            if each.ratio is not None
        }
        export_used_limits(worth_exporting(used, named))

    async def _look_into(self, tenant: str, hold: DueHold) -> None:
        now = self._tenancy.clock()
        try:
            status = await self._status(hold.request_id)
        except NotFound:
            await self._accounts.release(tenant, hold.request_id, now)
            return
        if status.state == "running":
            await self._accounts.defer(tenant, hold.request_id, now + _LOOK_AGAIN, now)
            return
        # One that was terminated, or ran out of time, has no bill: nobody knows that it was less than its bound.
        bill = charge_of(status.result) if status.result else hold.bound
        await self._accounts.settle(tenant, hold.request_id, bill, hold.day, now)


def worth_exporting(
    used: Mapping[tuple[str, str], float], named: Container[str], most: int = _MOST_UNNAMED
) -> dict[tuple[str, str], float]:
    """Used shares by tenant and limit: each of the tenants in the file, and of the others, who could be millions, at most `most`
    limits that are half used or more.
    """
    nearest = sorted(used, key=lambda key: used[key], reverse=True)
    unnamed = [key for key in nearest if key[0] not in named and used[key] >= _NEAR]
    return {key: share for key, share in used.items() if key[0] in named} | {key: used[key] for key in unnamed[:most]}
