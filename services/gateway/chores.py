"""What a gateway does besides its calls, for what died: requests that nobody reads, and holds that nobody settled."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Container, Mapping
from datetime import datetime, timedelta

from services.gateway.temporal import Status, Workflows
from services.gateway.tenancy import Tenancy
from services.shared.observability.tenant_metrics import export_used_limits
from services.shared.request_log.accounts import DueHold
from services.shared.request_log.log import RequestLog
from tandem.method.cost.bound import charge_of
from tandem.method.errors import NotFound, TandemError
from tandem.method.tokens import TokenCounts

logger = logging.getLogger(__name__)
_RETURN = timedelta(seconds=15)  # how long clients try to come back to a gateway
_LEASE = timedelta(seconds=5)  # a reader renews its own within
_PAUSE = timedelta(seconds=10)
_LOOK_AGAIN = timedelta(seconds=60)
_NEAR, _MOST_UNNAMED = 0.5, 200


async def cancel_orphans(
    workflows: Workflows, log: RequestLog, started_at: datetime, wait: timedelta = _RETURN, again: timedelta = _LEASE
) -> None:
    """Cancel after `wait` the running requests from before `started_at` that nobody reads, seen twice with the pause
    `again` between, and that are not to go on alone.

    Where Redis or Temporal does not answer, nobody knows who reads, and the requests go on.
    """
    await asyncio.sleep(wait.total_seconds())
    try:
        unread = await _unread(log, await workflows.visibility.running_since_before(started_at))
        await asyncio.sleep(again.total_seconds() if unread else 0)
        for request_id in await _unread(log, unread):
            logger.info("nobody reads request %s any more", request_id)
            await workflows.cancel_abandoned(request_id)
    except TandemError as error:
        logger.warning("requests without a reader were not looked for: %s", error)


async def _unread(log: RequestLog, request_ids: list[str]) -> list[str]:
    return [i for i in request_ids if not await log.watchers.exist(i, time.time())]


class OverdueHolds:
    """Holds that nobody settled: the gateway died before it started the request, or Redis or the worker at its end.

    `status` is Temporal's word on a request, and `log` has Redis's. Two gateways that look at once do no harm: an
    account settles once.
    """

    def __init__(self, tenancy: Tenancy, log: RequestLog, status: Callable[[str], Awaitable[Status]]) -> None:
        self._tenancy, self._log, self._accounts, self._status = tenancy, log, log.accounts, status

    async def keep_settling(self, pause: timedelta = _PAUSE) -> None:
        """Settle until cancelled."""
        while True:
            await asyncio.sleep(pause.total_seconds())
            try:
                await self.look()
            except TandemError as error:
                logger.warning("tenants' accounts were not looked into: %s", error)

    async def look(self) -> None:
        """Settle, release or leave each hold that is due, and export how much of each limit is used. Raises
        Unavailable.
        """
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
            await self._settle_unknown(tenant, hold)
            return
        if status.state == "running":
            await self._accounts.defer(tenant, hold.request_id, now + _LOOK_AGAIN, now)
            return
        # One that was terminated, or ran out of time, has no bill: nobody knows that it was less than its bound.
        bill = charge_of(status.result) if status.result else hold.bound
        await self._accounts.settle(tenant, hold.request_id, bill, hold.day, now)

    async def _settle_unknown(self, tenant: str, hold: DueHold) -> None:
        """Temporal does not know the request: it never began, or Temporal has lost it, and its bill with it. What its
        models did then stands in Redis, without the prices, so that its bound is charged.
        """
        now, made = self._tenancy.clock(), await self._log.ledger.all_counts(hold.request_id)
        if made == TokenCounts():
            await self._accounts.release(tenant, hold.request_id, now)
            return
        logger.warning(
            "Temporal has lost request %s of tenant %r, and its bill: %d prompt and %d generated tokens are known; "
            "its bound is charged",
            hold.request_id,
            tenant,
            made.prompt,
            made.generated,
        )
        await self._accounts.settle(tenant, hold.request_id, hold.bound, hold.day, now)


def worth_exporting(
    used: Mapping[tuple[str, str], float], named: Container[str], most: int = _MOST_UNNAMED
) -> dict[tuple[str, str], float]:
    """Used shares by tenant and limit: each of the tenants in the file, and of the others, who could be millions, at
    most `most` limits that are half used or more.
    """
    nearest = sorted(used, key=lambda key: used[key], reverse=True)
    unnamed = [key for key in nearest if key[0] not in named and used[key] >= _NEAR]
    return {key: share for key, share in used.items() if key[0] in named} | {key: used[key] for key in unnamed[:most]}
