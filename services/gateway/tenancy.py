"""What a request's tenant may use, decided before any work begins, in this one place.

The request's upper bound is held on the tenant's account in Redis; the worker puts the bill in its place at the end.
What neither does, because a process died, `OverdueHolds` does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta

from services.gateway.temporal import AdmittedRequest
from services.gateway.visibility import Spent, Visibility
from services.shared.identity.caller import Caller
from services.shared.request_log.accounts import (
    AccountLimits,
    Accounts,
    Hold,
    Refusal,
    Standing,
    UnknownAccount,
    day_of,
    resets,
    start_of_month,
)
from tandem.access.tenants import TenantLimits, Tenants
from tandem.access.watched_file import WatchedFile
from tandem.method.cost.bound import upper_bound
from tandem.method.errors import FailedPrecondition, InvalidArgument, LimitReached, PermissionDenied, Unavailable
from tandem.method.request.charge import nano_usd
from tandem.method.request.job import Job
from tandem.method.request.request import SolveRequest

LOOK_AFTER = timedelta(seconds=30)
"""When a hold that has not settled is looked into: the longest that one of a dead gateway stays."""
SAME_START = timedelta(minutes=1)
"""Of two callers that start one id at once, one joins a request that began so shortly before, at most."""
Start = Callable[[Job], Awaitable[AdmittedRequest]]
_ATTEMPTS = 3
_MAX_SEEN = 10_000


@dataclass(frozen=True, slots=True)
class LimitUse:
    """The use of one limit that is counted. USD where its name says so. `most`: None does not limit. `resets_at`:
    None where each use leaves by itself.
    """

    limit: str
    used: float
    most: float | None
    resets_at: datetime | None

    @property
    def ratio(self) -> float | None:
        """The used share; 1 where nothing is allowed, None where nothing limits."""
        if self.most is None:
            return None
        return self.used / self.most if self.most else 1.0


class Tenancy:
    """`seen` are the tenants that have an account and asked here, the last of them: who may name any tenant could name
    millions.
    Without a file nobody has limits.
    """

    def __init__(
        self,
        file: WatchedFile[Tenants] | None,
        accounts: Accounts,
        visibility: Visibility,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._file, self._accounts, self._visibility, self.clock = file, accounts, visibility, clock
        self._restoring: dict[str, asyncio.Task[None]] = {}
        self.seen: dict[str, None] = {}

    @property
    def is_on(self) -> bool:
        return self._file is not None

    @property
    def tenants(self) -> Tenants:
        return self._file.value if self._file else Tenants()

    def may_use(self, tenant: str, profile: str) -> bool:
        allowed = self.tenants.limits(tenant).profiles
        return allowed is None or profile in allowed

    def permit(self, asked: SolveRequest, profile: str) -> SolveRequest:
        """Return the request with the tenant's largest budget where it names none. Raises PermissionDenied."""
        limits = self.tenants.limits(asked.tenant)
        if not self.may_use(asked.tenant, profile):
            allowed = ", ".join(limits.profiles or ()) or "none"
            raise PermissionDenied(
                f"tenant {asked.tenant!r} may not use profile {profile!r}; it may use {allowed}",
                reason="PROFILE_NOT_ALLOWED",
            )
        most, wanted = limits.usd_per_request, asked.budget.max_cost_usd
        if most is None:
            return asked
        if wanted is not None and wanted > most:
            raise PermissionDenied(
                f"tenant {asked.tenant!r} may spend {most:g} USD on one request, not {wanted:g}",
                reason="BUDGET_NOT_ALLOWED",
            )
        return asked if wanted is not None else replace(asked, budget=replace(asked.budget, max_cost_usd=most))

    def require_unlimited(self, tenant: str) -> None:
        """Raises FailedPrecondition where the tenant has limits: requests of a batch are not held on an account."""
        if self.tenants.limits(tenant).are_limits:
            raise FailedPrecondition(
                f"tenant {tenant!r} has limits, which batches are not counted against: ask for the requests one by "
                "one, or let an operator remove the tenant's limits",
                reason="BATCHES_NOT_LIMITED",
            )

    async def begin(self, task: Job, start: Start) -> AdmittedRequest:
        """`start` the request, or join the one there is, once its upper bound is held.

        Raises LimitReached, InvalidArgument where USD are limited and a price is not known, Unavailable where Redis
        does not answer, and what `start` raises.
        """
        tenant = task.request.tenant
        limits = self.tenants.limits(tenant)
        if not limits.counts:
            return await start(task)
        if limits.usd_per_day is not None or limits.usd_per_month is not None:
            task.plan.prices.require_known("profile")
        self.see(tenant)
        task = replace(task, bound=upper_bound(task))
        began_at = self.clock()
        is_held_anew = await self._reserve(task, limits, began_at)
        try:
            admitted = await start(task)
        except (FailedPrecondition, InvalidArgument):  # the id is another request's, or Temporal does not keep this one
            if is_held_anew:
                await self._accounts.release(tenant, task.request_id, self.clock())
            raise
        # Of two callers that start one id at once either may hold it; one that began long ago has been paid.
        if is_held_anew and admitted.began_at and admitted.began_at < began_at - SAME_START:
            await self._accounts.release(tenant, task.request_id, self.clock())
        return admitted

    async def is_held(self, request: AdmittedRequest) -> bool:
        """Tell whether a bound stands on the account where the bill will. Raises Unavailable."""
        return await self._accounts.is_held(request.tenant, request.request_id)

    async def used(self, caller: Caller) -> dict[str, list[LimitUse]]:
        """Return what counts against the limits of the caller's tenant; of all that are known for a caller who sees
        all. Empty lists for tenants whose limits are not counted. Raises Unavailable.
        """
        known = {*self.seen, *self.tenants.by_name} if caller.sees_all else {caller.tenant}
        for tenant in known:
            await self._restore_lost(tenant)
        return {tenant: await self.used_by(tenant) for tenant in sorted(known)}

    async def used_by(self, tenant: str) -> list[LimitUse]:
        """Return the use as Redis has it. Raises Unavailable."""
        limits, now = self.tenants.limits(tenant), self.clock()
        if not limits.counts:
            return []
        return _limit_uses(limits, await self._accounts.standing(tenant, now), now)

    def see(self, tenant: str) -> None:
        """Remember that the tenant has an account."""
        self.seen.pop(tenant, None)
        self.seen[tenant] = None
        if len(self.seen) > _MAX_SEEN:
            del self.seen[next(iter(self.seen))]

    async def _restore_lost(self, tenant: str) -> None:
        now = self.clock()
        if self.tenants.limits(tenant).counts and not await self._accounts.is_known(tenant, now):
            await self._restore(tenant, now)

    async def _reserve(self, task: Job, limits: TenantLimits, now: datetime) -> bool:
        assert task.bound is not None
        tenant, hold = task.request.tenant, Hold(task.request_id, task.bound, now, now + LOOK_AFTER)
        for _ in range(_ATTEMPTS):
            try:
                outcome = await self._accounts.reserve(tenant, hold, _counted(limits), now)
            except UnknownAccount:
                await self._restore(tenant, now)
                continue
            if isinstance(outcome, Refusal):
                raise _reached(tenant, outcome)
            return outcome
        raise Unavailable(f"the account of tenant {tenant!r} was lost again and again", reason="ACCOUNT_UNAVAILABLE")

    async def _restore(self, tenant: str, now: datetime) -> None:
        """Restore the account once for all callers that find it unknown."""
        restoring = self._restoring.get(tenant)
        if restoring is None:
            restoring = self._restoring[tenant] = asyncio.create_task(self._restore_now(tenant, now))
            restoring.add_done_callback(lambda _: self._restoring.pop(tenant))
        await asyncio.shield(restoring)

    async def _restore_now(self, tenant: str, now: datetime) -> None:
        """The month's account, from what Temporal knows: the bills, and the bounds of what runs."""
        requests = await self._visibility.spent_since(tenant, start_of_month(now))
        ended = [request for request in requests if not request.is_running]
        today = [request for request in ended if day_of(request.began_at) == day_of(now)]
        # Temporal may show as running what has just ended: somebody looks at once.
        running = [Hold(r.request_id, r.charge, r.began_at, now) for r in requests if r.is_running]
        await self._accounts.restore(tenant, (_sum(today), _sum(ended)), running, now)


def _limit_uses(limits: TenantLimits, standing: Standing, now: datetime) -> list[LimitUse]:
    day, month = resets(now)
    ends = {"usd_per_day": day, "usd_per_month": month}
    return [
        LimitUse(name, count / 1e9 if name in ends else count, getattr(limits, name), ends.get(name))
        for name, count in asdict(standing).items()
    ]


def _sum(requests: list[Spent]) -> int:
    return sum(request.charge.nano_usd for request in requests)


def _counted(limits: TenantLimits) -> AccountLimits:
    day, month = limits.usd_per_day, limits.usd_per_month
    return AccountLimits(
        limits.requests_per_minute,
        limits.tokens_per_minute,
        limits.concurrent_requests,
        None if day is None else nano_usd(day),
        None if month is None else nano_usd(month),
    )


def _reached(tenant: str, refusal: Refusal) -> LimitReached:
    is_money = refusal.limit.startswith("usd")
    most, left = (f"{n / 1e9:.9g}" if is_money else str(n) for n in (refusal.most, refusal.left))
    what = refusal.limit.replace("_", " ")
    if refusal.wait is None:
        reason = "REQUEST_TOO_LARGE"
        advice = "this request alone may need more: lower its budget or its answer's length"
    else:
        reason = "QUOTA_EXCEEDED" if is_money else "RATE_LIMIT_EXCEEDED"
        advice = f"it resets in {refusal.wait.total_seconds():.0f} s"
    return LimitReached(
        f"tenant {tenant!r} has {left} of {most} {what} left, less than this request may need; {advice}",
        reason=reason,
        tenant=tenant,
        limit=refusal.limit,
        most=most,
        left=left,
        retry_after_s=refusal.wait.total_seconds() if refusal.wait is not None else None,
    )
