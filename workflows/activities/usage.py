"""What attempts used that have failed, also what the request log does not know of: Redis may have lost it, or never had
it.

Heartbeats carry it from attempt to attempt, this worker remembers it, and it is settled from the request log.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
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

_MAX_REMEMBERED = 1000
_CLOSING_SECONDS, _LOOK_AGAIN_SECONDS = 1.5, 0.1


@dataclass(slots=True)
class EarlierUsage:
    """`total`: as far as anybody knows. `missing`: the part of it that the log lacked when the last attempt began.

    Both count prompt and discarded tokens. Heartbeats carry it to the next attempt.
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
        self.total = at_least(self.total, logged + self.missing)
        self.missing = without(self.total, logged)

    def fail(self, reported: TokenCounts, logged: TokenCounts) -> None:
        """The attempt has failed; its service `reported` its own tokens and those that were `logged` when it began, or
        nothing.
        """
        self.total = at_least(self.total, at_least(reported, logged) + self.missing)


@dataclass(frozen=True, slots=True)
class AttemptUsage:
    """Of all models that an activity asks at once."""

    by_place: tuple[EarlierUsage, ...]

    @classmethod
    def of_attempt(cls, *before: TokenCounts) -> AttemptUsage:
        """For the attempt that this activity makes; `before` is what each role had used before its first one."""
        told = [value_to_type(TokenCounts, detail) for detail in activity.info().heartbeat_details]
        if len(told) < 2 * len(before):
            return cls(tuple(EarlierUsage(each, TokenCounts()) for each in before))
        return cls(tuple(EarlierUsage(*told[at : at + 2]) for at in range(0, 2 * len(before), 2)))

    @property
    def details(self) -> tuple[TokenCounts, ...]:
        """For a heartbeat."""
        if all(each.is_none for each in self.by_place):
            return ()
        return tuple(counts for each in self.by_place for counts in (each.total, each.missing))


def at_least(one: TokenCounts, other: TokenCounts) -> TokenCounts:
    """The larger prompt and the larger number of generated tokens, as discarded."""
    return TokenCounts(
        prompt=max(one.prompt, other.prompt),
        discarded=max(one.generated, other.generated),
        is_estimated=one.is_estimated or other.is_estimated,
    )


def without(counts: TokenCounts, known: TokenCounts) -> TokenCounts:
    """What `counts` has beyond `known`, as discarded."""
    return TokenCounts(
        prompt=max(0, counts.prompt - known.prompt), discarded=max(0, counts.generated - known.generated)
    )


@dataclass(frozen=True, slots=True)
class Reported:
    """`counts` of all attempts so far. `is_silent`: one of them had begun, and did not tell its own."""

    counts: TokenCounts = field(default_factory=TokenCounts)
    is_silent: bool = False


def _as_read(task: LostUsageTask, counts: TokenCounts) -> TokenCounts:
    """With what an API's cache had of the prompt, as nobody has told it; at the dearest where a limit depends on it."""
    dearest = task.prices.dearest(counts.prompt)
    read = dearest if task.repeated is None else as_cached(counts.prompt, task.repeated)
    return replace(read, discarded=counts.discarded)


class ReportedUsage:
    """What failed attempts reported last. A cancel between two attempts keeps neither error nor heartbeat; this worker
    does.
    """

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
        """The counts of a role whose every attempt failed: from the request log, or from the service's error where that
        has more.

        All of it is discarded; tokens that no span has reported yet are reported here.
        """
        role = Role.INSIGHT if task.role == "llm" else Role.ANSWER
        inference = Inference(task.model, task.role, task.request_id, activity.info().attempt, task.prices)
        remembered = self._reported.pop(task.request_id, task.role)
        reported = at_least(task.reported, remembered.counts if remembered else TokenCounts())
        try:
            is_complete = await self._is_complete(task.request_id, role, remembered)
            logged = await self._log.ledger.counts(task.request_id, role, task.trial)
            unreported = await self._log.ledger.take_unreported(task.request_id, role)
        except TandemError as error:
            lost = _as_read(task, reported)
            report_discarded(inference, lost)
            raise ApplicationError(str(error), lost, type=error.reason) from error
        counts = at_least(logged, reported)
        lost = _as_read(task, without(counts, logged) + unreported)
        report_discarded(inference, lost)
        return LostUsage(replace(lost, prompt=counts.prompt - lost.cached, discarded=counts.discarded), is_complete)

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
