"""What the workflow publishes in the request log: the stop, how the large model ended, the result."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

from temporalio import activity

from services.shared.observability import tenant_metrics
from services.shared.observability.metrics import count_result
from services.shared.observability.spans import describe_result
from services.shared.observability.tracing import tracer
from services.shared.request_log.connection import Role
from services.shared.request_log.decisions import LLM_STOPPED_SLOT, RESULT_SLOT, scored_slot
from services.shared.request_log.log import RequestLog
from services.shared.request_log.stops import StopSignal
from tandem.method.cost.bound import charge_of
from tandem.method.errors import TandemError
from tandem.method.names import beside_id
from tandem.method.request.events import LlmStopped, Scored
from tandem.method.request.result import SolveResult
from tandem.method.request.tasks import Payer, StopOrder


class PublishingActivities:
    def __init__(self, log: RequestLog) -> None:
        self._log = log

    @activity.defn
    async def publish_stop(self, order: StopOrder) -> None:
        """The fastest way of a stop: the flag in Redis, which the writers receive at once and which refuses their
        appends.
        """
        for role, epoch in ((Role.INSIGHT, order.insight_epoch), (Role.ANSWER, order.answer_epoch)):
            if epoch is not None:
                await self._log.stops.publish(StopSignal(order.request_id, role, epoch, order.decided_at))
        for request_id in (beside_id(order.request_id, role) for role in order.beside):
            if order.answer_epoch is not None:
                await self._log.stops.publish(StopSignal(request_id, Role.ANSWER, order.answer_epoch, order.decided_at))

    @activity.defn
    async def publish_llm_stopped(self, request_id: str, stopped: LlmStopped) -> None:
        await self._log.decisions.publish(request_id, LLM_STOPPED_SLOT, stopped)

    @activity.defn
    async def publish_scored(self, request_id: str, scored: Scored) -> None:
        """A score that the workflow made of what it had; the scorer's are published where they are made."""
        await self._log.decisions.publish(request_id, scored_slot(scored.stage), scored)

    @activity.defn
    async def publish_result(self, result: SolveResult, failed: bool, payer: Payer) -> SolveResult | None:
        """Publish the result, and its totals for trace and metrics: the gateway's span has none when its client has
        gone.
        The bill goes to the payer's account.

        Returns the result that was published before, which is final: a cancel that comes after the end changes nothing.
        Readers of a failed request get the workflow's error instead.
        """
        await self._charge(payer, result)  # before readers hear of the end: their next request is compared with it
        published = None if failed else await self._publish(result)
        with tracer.start_as_current_span("settle") as span:
            describe_result(span, published or result)
        if published is None:
            count_result(result, failed=failed)
            tenant_metrics.count_cost(payer.tenant, result.cost.usd)
        return published

    async def _charge(self, payer: Payer, result: SolveResult) -> None:
        """Once, however often it runs. Where Redis does not answer, the gateway finds the bill in Temporal; a session's
        sum then lacks it.
        """
        charge = charge_of(result)
        try:
            if payer.session:
                await self._log.sessions.add(payer.tenant, payer.session, result.request_id, charge.nano_usd)
            if payer.day:
                await self._log.accounts.settle(payer.tenant, result.request_id, charge, payer.day, datetime.now(UTC))
        except TandemError as error:
            activity.logger.warning("the bill of %s is not on its account yet: %s", result.request_id, error)

    async def _publish(self, result: SolveResult) -> SolveResult | None:
        """Readers who cannot be reached this way read the result from Temporal."""
        before = None
        try:
            before = await self._log.decisions.publish(result.request_id, RESULT_SLOT, result)
        except TandemError as error:
            activity.logger.warning("the result was not published: %s", error)
        with contextlib.suppress(TandemError):
            await self._log.expire_soon(result.request_id)
        return before if isinstance(before, SolveResult) else None
