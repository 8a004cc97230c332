"""Token counts of attempts that failed: remembered by this worker, and settled from the request log."""

from __future__ import annotations

from collections import OrderedDict

from temporalio import activity
from temporalio.exceptions import ApplicationError

from services.observability.spans import Inference, report_discarded
from services.request_log.connection import Role
from services.request_log.log import RequestLog
from tandem.method.errors import TandemError
from tandem.method.tasks import LostUsageTask
from tandem.method.tokens import TokenCounts
from workflows.activities.earlier_usage import at_least, without

_MAX_REMEMBERED = 1000


class ReportedUsage:
    """What failed attempts reported last. A cancel between two attempts keeps neither error nor heartbeat; this worker does."""

    def __init__(self) -> None:
        self._counts: OrderedDict[tuple[str, str], TokenCounts] = OrderedDict()

    def remember(self, request_id: str, role: str, counts: TokenCounts) -> None:
        self._counts[request_id, role] = counts
        while len(self._counts) > _MAX_REMEMBERED:
            self._counts.popitem(last=False)

    def pop(self, request_id: str, role: str) -> TokenCounts:
        return self._counts.pop((request_id, role), TokenCounts())


class LostUsageActivities:
    def __init__(self, log: RequestLog, reported: ReportedUsage) -> None:
        self._log, self._reported = log, reported

    @activity.defn
    async def settle_lost_usage(self, task: LostUsageTask) -> TokenCounts:
        """The counts of a role whose every attempt failed: from the request log, or from the service's error where that has more.

        All of it is discarded; tokens that no span has reported yet are reported here.
        """
        role = Role.INSIGHT if task.role == "llm" else Role.ANSWER
        inference = Inference(task.model, task.role, task.request_id, activity.info().attempt, task.prices)
        remembered = self._reported.pop(task.request_id, task.role)
        reported = at_least(task.reported, remembered)
        try:
            logged = await self._log.ledger.counts(task.request_id, role)
            unreported = await self._log.ledger.take_unreported(task.request_id, role)
        except TandemError as error:
            report_discarded(inference, reported)
            raise ApplicationError(str(error), reported, type=error.reason) from error
        counts = at_least(logged, reported)
        report_discarded(inference, without(counts, logged) + unreported)
        return counts
