"""What the turns of a session may cost together: each holds its upper bound before it begins, as a tenant's requests
do.

The worker puts the bill in the hold's place. A hold that is left over, because a process died, is looked into by the
next turn that it stands in the way of.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta

from services.gateway.temporal import AdmittedRequest, Status
from services.gateway.tenancy import LOOK_AFTER, SAME_START, Start
from services.shared.request_log.sessions import Sessions, TurnHold
from tandem.method.cost.bound import charge_of, upper_bound
from tandem.method.errors import FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted
from tandem.method.request.charge import Charge, nano_usd
from tandem.method.request.job import Job

Join = Callable[[], Awaitable[AdmittedRequest]]
_LOOK_AGAIN = timedelta(seconds=60)
_RETRY_SECONDS = 2.0


class SessionBudgets:
    """`status` is Temporal's word on a request."""

    def __init__(
        self, sessions: Sessions, status: Callable[[str], Awaitable[Status]], clock: Callable[[], datetime]
    ) -> None:
        self._sessions, self._status, self._clock = sessions, status, clock

    async def begin(self, task: Job, start: Start, join: Join) -> AdmittedRequest:
        """`start` the turn once its upper bound is held; where its session has no limit, at once. `join`: the request
        of its id that began before, which is not refused; raises NotFound where there is none.

        Raises FailedPrecondition where the session has cost all that it may, ResourceExhausted where turns that run
        hold the rest, InvalidArgument where a price is not known, Unavailable where Redis does not answer, and what
        `start` raises.
        """
        if task.request.max_session_usd is None:
            return await start(task)
        bound, began_at = upper_bound(task), self._clock()
        try:
            is_held_anew = await self._hold(task, bound, task.request.max_session_usd, began_at)
        except (FailedPrecondition, ResourceExhausted) as refusal:
            try:
                return await join()
            except NotFound:
                raise refusal from None
        try:
            admitted = await start(replace(task, session_bound=bound))
        except (FailedPrecondition, InvalidArgument, ResourceExhausted):  # it has not begun
            if is_held_anew:
                await self._release(task)
            raise
        if is_held_anew and admitted.began_at and admitted.began_at < began_at - SAME_START:  # it has been paid
            await self._release(task)
        return admitted

    async def _hold(self, task: Job, bound: Charge, most: float, now: datetime) -> bool:
        """Tell whether it was not held before."""
        task.plan.prices.require_known("max_session_usd")
        tenant, session = task.request.tenant, task.request.session
        hold = TurnHold(task.request_id, bound.nano_usd, now + LOOK_AFTER)
        reserved = await self._sessions.reserve(tenant, session, hold, nano_usd(most))
        if reserved.outcome == "BUSY" and await self._look(tenant, session):
            reserved = await self._sessions.reserve(tenant, session, hold, nano_usd(most))
        match reserved.outcome:
            case "SPENT":
                raise _spent(session, reserved.nano_usd / 1e9, most)
            case "BUSY":
                raise _busy(session, reserved.nano_usd / 1e9, most)
        return reserved.outcome == "OK"

    async def _release(self, task: Job) -> None:
        await self._sessions.release(task.request.tenant, task.request.session, task.request_id)

    async def _look(self, tenant: str, session: str) -> bool:
        """Look into the holds that are due. Whether one of them has gone."""
        now, has_gone = self._clock(), False
        for hold in await self._sessions.due(tenant, session, now):
            try:
                status = await self._status(hold.request_id)
            except NotFound:  # it never began
                await self._sessions.release(tenant, session, hold.request_id)
                has_gone = True
                continue
            if status.state == "running":
                later = TurnHold(hold.request_id, hold.nano_usd, now + _LOOK_AGAIN)
                await self._sessions.defer(tenant, session, later)
                continue
            # One that was terminated, or ran out of time, has no bill: nobody knows that it was less than its bound.
            bill = charge_of(status.result).nano_usd if status.result else hold.nano_usd
            await self._sessions.add(tenant, session, hold.request_id, bill)
            has_gone = True
        return has_gone


def _spent(session: str, spent: float, most: float) -> FailedPrecondition:
    return FailedPrecondition(
        f"session {session!r} has cost ${spent:.6f} of the ${most:g} that it may cost, so no further turn begins: "
        "raise max_session_usd, or begin another session",
        reason="SESSION_BUDGET_SPENT",
    )


def _busy(session: str, spent: float, most: float) -> ResourceExhausted:
    return ResourceExhausted(
        f"session {session!r} has cost ${spent:.6f} of the ${most:g} that it may cost, and its turns that run may cost "
        "the rest: repeat this one when they have ended",
        reason="SESSION_BUDGET_HELD",
        retry_after_s=_RETRY_SECONDS,
    )
