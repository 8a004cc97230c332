"""Token counts of attempts that failed: remembered by this worker, and settled from the request log."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass, field

from temporalio import activity
from temporalio.exceptions import ApplicationError

from services.observability.spans import Inference, report_discarded
from services.request_log.connection import Role
from services.request_log.log import RequestLog
from tandem.method.errors import TandemError
from tandem.method.tasks import LostUsage, LostUsageTask
from tandem.method.tokens import TokenCounts
from workflows.activities.earlier_usage import at_least, without

_MAX_REMEMBERED = 1000
_CLOSING_SECONDS, _LOOK_AGAIN_SECONDS = 1.5, 0.1


@dataclass(frozen=True, slots=True)
class Reported:
    """`counts` of all attempts so far. `is_silent`: one of them had begun, and did not tell its own."""

    counts: TokenCounts = field(default_factory=TokenCounts)
    is_silent: bool = False


class ReportedUsage:
    """What failed attempts reported last. A cancel between two attempts keeps neither error nor heartbeat; this worker does."""

    def __init__(self) -> None:
        self._reported: OrderedDict[tuple[str, str], Reported] = OrderedDict()

    def remember(self, request_id: str, role: str, counts: TokenCounts, *, is_silent: bool) -> None:
        was_silent = self._reported.get((request_id, role), Reported()).is_silent
        self._reported[request_id, role] = Reported(counts, was_silent or is_silent)
        while len(self._reported) > _MAX_REMEMBERED:
            self._reported.popitem(last=False)

    def pop(self, request_id: str, role: str) -> Reported | None:
        return self._reported.pop((request_id, role), None)


class LostUsageActivities:
    def __init__(self, log: RequestLog, reported: ReportedUsage) -> None:
        self._log, self._reported = log, reported

    @activity.defn
    async def settle_lost_usage(self, task: LostUsageTask) -> LostUsage:
        """The counts of a role whose every attempt failed: from the request log, or from the service's error where that has more.

        All of it is discarded; tokens that no span has reported yet are reported here.
        """
        role = Role.INSIGHT if task.role == "llm" else Role.ANSWER
        inference = Inference(task.model, task.role, task.request_id, activity.info().attempt, task.prices)
        remembered = self._reported.pop(task.request_id, task.role)
        reported = at_least(task.reported, remembered.counts if remembered else TokenCounts())
        try:
            is_complete = await self._is_complete(task.request_id, role, remembered)
            logged = await self._log.ledger.counts(task.request_id, role)
            unreported = await self._log.ledger.take_unreported(task.request_id, role)
        except TandemError as error:
            report_discarded(inference, reported)
            raise ApplicationError(str(error), reported, type=error.reason) from error
        counts = at_least(logged, reported)
        report_discarded(inference, without(counts, logged) + unreported)
        return LostUsage(counts, is_complete)

    async def _is_complete(self, request_id: str, role: Role, reported: Reported | None) -> bool:
        """What an attempt still owes the log is waited for, for a moment."""
        if reported and not reported.is_silent:
            return True
        deadline = time.monotonic() + _CLOSING_SECONDS
        while (has_closed := await self._log.ledger.has_closed(request_id, role)) is False:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        return has_closed is not None or reported is None
