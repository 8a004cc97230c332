"""What attempts used that have failed, also what the request log does not know of: Redis may have lost it, or never had
it.

Heartbeats carry it from attempt to attempt, this worker remembers it, and it is settled from the request log.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from temporalio import activity
from temporalio.converter import value_to_type
from temporalio.exceptions import ApplicationError

from services.shared.observability.spans import Inference, report_discarded
from services.shared.request_log.connection import Role
from services.shared.request_log.log import RequestLog
from tandem.method.cost.cost import as_cached
from tandem.method.errors import TandemError
from tandem.method.request.tasks import LostUsage, LostUsageTask
from tandem.method.tokens import TokenCounts
from tandem.method.usage import beyond, larger, lost

_MAX_REMEMBERED = 1000
_CLOSING_SECONDS, _LOOK_AGAIN_SECONDS = 1.5, 0.1


@dataclass(slots=True)
class EarlierUsage:
    """`total`: as far as anybody knows. `missing`: the part of it that the log lacked when the last attempt began.

    What the log has since then and what it lacked are two steps: their sum is one record, which `total` is merged with.
    Both are of lost work. Heartbeats carry them to the next attempt.
    """

    total: TokenCounts
    missing: TokenCounts

    @property
    def is_none(self) -> bool:
        return not self.total.computed

    def see_log(self, logged: TokenCounts) -> None:
        """The attempt has begun, with `logged` in the log. An attempt that died unheard may be in the log alone, and
        what was reported may have gone from it.
        """
        self.total = larger(self.total, lost(logged) + self.missing)
        self.missing = beyond(self.total, logged)

    def fail(self, reported: TokenCounts, logged: TokenCounts) -> None:
        """The attempt has failed; its service `reported` its own tokens and those that were `logged` when it began, or
        nothing.
        """
        self.total = larger(self.total, lost(larger(reported, logged)) + self.missing)


def earlier_usage(*before: TokenCounts) -> tuple[EarlierUsage, ...]:
    """What each model that this activity asks has used before this attempt; `before` is what it had used before the
    first one.
    """
    told = [value_to_type(TokenCounts, detail) for detail in activity.info().heartbeat_details]
    if len(told) < 2 * len(before):
        return tuple(EarlierUsage(each, TokenCounts()) for each in before)
    return tuple(EarlierUsage(*told[at : at + 2]) for at in range(0, 2 * len(before), 2))


def heartbeat_details(earlier: Sequence[EarlierUsage]) -> tuple[TokenCounts, ...]:
    """What `earlier_usage` reads in the next attempt."""
    if all(each.is_none for each in earlier):
        return ()
    return tuple(counts for each in earlier for counts in (each.total, each.missing))


@dataclass(frozen=True, slots=True)
class Reported:
    """`counts` of all attempts so far. `is_silent`: one of them had begun, and did not tell its own."""

    counts: TokenCounts = field(default_factory=TokenCounts)
    is_silent: bool = False


def _as_read(task: LostUsageTask, counts: TokenCounts) -> TokenCounts:
    """With what an API's cache had of the prompt, as nobody has told it; at the dearest where a limit depends on it."""
    dearest = task.prices.dearest(counts.read)
    read = dearest if task.repeated is None else as_cached(counts.read, task.repeated)
    return replace(read, discarded=counts.discarded)


class ReportedUsage:
    """What failed attempts reported last. A cancel between two attempts keeps neither error nor heartbeat; this worker
    does.
    """

    def __init__(self) -> None:
        self._reported: OrderedDict[tuple[str, str, int], Reported] = OrderedDict()

    def remember(self, text: tuple[str, str, int], counts: TokenCounts, *, is_silent: bool) -> None:
        """Keep what the attempts at `text` have used: the text of a request, a role and a trial."""
        known = self._reported.get(text, Reported())
        self._reported[text] = Reported(larger(known.counts, counts), known.is_silent or is_silent)
        while len(self._reported) > _MAX_REMEMBERED:
            self._reported.popitem(last=False)

    def pop(self, text: tuple[str, str, int]) -> Reported | None:
        return self._reported.pop(text, None)


class LostUsageActivities:
    def __init__(self, log: RequestLog, reported: ReportedUsage) -> None:
        self._log, self._reported = log, reported

    @activity.defn
    async def settle_lost_usage(self, task: LostUsageTask) -> LostUsage:
        """The counts of a role whose every attempt failed: from the request log, or from the service's error where that
        has more.

        All of it is discarded; tokens that no span has reported yet are reported here.
        """
        role = Role.INSIGHT if task.role == "llm" else Role.ANSWER
        inference = Inference(task.model, task.role, task.request_id, activity.info().attempt, task.prices)
        remembered = self._reported.pop((task.request_id, task.role, task.trial))
        reported = larger(task.reported, remembered.counts) if remembered else task.reported
        try:
            is_complete = await self._is_complete(task.request_id, role, remembered)
            logged = await self._log.ledger.counts(task.request_id, role, task.trial)
            unreported = await self._log.ledger.take_unreported(task.request_id, role)
        except TandemError as error:
            unlogged = _as_read(task, reported)
            report_discarded(inference, unlogged)
            raise ApplicationError(str(error), unlogged, type=error.reason) from error
        counts = larger(logged, reported)
        untold = _as_read(task, beyond(counts, logged) + unreported)
        report_discarded(inference, untold)
        return LostUsage(replace(untold, prompt=counts.read - untold.cached, discarded=counts.generated), is_complete)

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
