"""What a request teaches a promise: started, counted and decided."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from opentelemetry import trace
from opentelemetry.context import Context
from temporalio import activity

from services.shared.observability.promise_metrics import count_change, count_sampled
from services.shared.observability.tracing import tracer
from services.shared.request_log.deciding import decide_now
from services.shared.request_log.disputes import Kept
from services.shared.request_log.learned import Lesson
from services.shared.request_log.log import RequestLog
from tandem.method.names import BESIDE_WORKFLOW, sampled_id
from tandem.method.promise.alarms import steps
from tandem.method.promise.arms import LearnedKind
from tandem.method.request.beside import BesideInput, BesideResult, Dispute
from tandem.method.request.learning import KindNow, Learning, Seen
from workflows.activities.jobs import current_job
from workflows.activities.shadow import start_once

logger = logging.getLogger(__name__)


class LearningActivities:
    def __init__(self, log: RequestLog) -> None:
        self._log = log

    @activity.defn
    async def start_beside(self, task: BesideInput) -> None:
        """Ask the models that have not answered, under a trace of its own; for a request once at most."""
        link = trace.Link(trace.get_current_span().get_span_context())
        with tracer.start_as_current_span("beside", context=Context(), links=[link]) as span:
            span.set_attribute("tandem.beside.of", task.job.request_id)
            await start_once(BESIDE_WORKFLOW, task, sampled_id(task.job.request_id))

    @activity.defn
    async def count_served(self, kind: LearnedKind, is_answered: bool) -> None:
        """An arm was asked: how often it answers tells whether the models or the traffic have changed."""
        learning = (await current_job()).plan.learning
        now = learning.kinds.get(kind) if learning else None
        if learning is None or now is None or not now.arm:
            return
        number = [arm.name for arm in learning.arms(kind)].index(now.arm)
        added = steps(is_answered, now.usual)
        lesson = _lesson(learning, kind)
        cusum = await self._log.learned.served(lesson, now.epoch, number, is_answered, added)
        if cusum and cusum.closes:
            await self._decide(learning, kind)

    @activity.defn
    async def count_sampled(self, seen: Seen, usd: float, dispute: Dispute | None) -> bool:
        """Count what was seen, once, and keep the texts of a dispute for a label. False: the kind has begun anew."""
        job = await current_job()
        learning = job.plan.learning
        assert learning is not None
        lesson, epoch = _lesson(learning, seen.kind), learning.kinds.get(seen.kind, KindNow()).epoch
        is_counted = await self._log.learned.sampled(lesson, epoch, job.request_id, seen)
        if is_counted and dispute:
            kept = Kept(job.request_id, lesson, epoch, dispute)
            await self._log.disputes.keep(kept, datetime.now(UTC), learning.keep_days)
        count_sampled(learning.profile, seen.kind, usd, is_counted=is_counted, is_disputed=seen.is_disputed)
        await self._decide(learning, seen.kind)
        return is_counted

    @activity.defn
    async def count_uncounted(self, result: BesideResult) -> None:
        """Nothing could be compared; what was paid is counted."""
        profile = (await current_job()).plan.profile
        count_sampled(profile, result.kind, result.usd_paid, is_counted=False, is_disputed=False)

    async def _decide(self, learning: Learning, kind: LearnedKind) -> None:
        lesson, arms = _lesson(learning, kind), learning.arms(kind)
        for change in await decide_now(self._log.learned, lesson, arms, learning.terms, datetime.now(UTC)):
            count_change(learning.profile, kind, change.what)
            why = f": {change.why}" if change.why else ""
            logger.info(
                "%s, %s: %s %s after %d sampled requests%s",
                *(learning.profile, kind, change.arm, change.what, change.sampled, why),
            )


def _lesson(learning: Learning, kind: str) -> Lesson:
    return Lesson(learning.tenant, learning.profile, kind, learning.digest)
