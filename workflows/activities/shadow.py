"""The shadow's activities."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

from opentelemetry import trace
from opentelemetry.context import Context
from temporalio import activity
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from services.shared.observability.outcome_metrics import count_outcome, count_shadow
from services.shared.observability.tracing import tracer
from services.shared.process.search_attributes import whose
from services.shared.request_log.log import RequestLog
from services.shared.request_log.promises import PolicyOf, Report
from tandem.method.names import SHADOW_WORKFLOW, shadow_id, solve_queue
from tandem.method.request.beside import BesideInput
from tandem.method.request.result import ShadowInput, ShadowResult
from tandem.method.timeouts import Timeouts
from workflows.activities.jobs import current_job


class ShadowActivities:
    def __init__(self, log: RequestLog) -> None:
        self._log = log

    @activity.defn
    async def start_shadow(self, task: ShadowInput) -> None:
        """Start the shadow under a trace of its own, linked to the request's; a request has one at most."""
        link = trace.Link(trace.get_current_span().get_span_context())
        with tracer.start_as_current_span("shadow", context=Context(), links=[link]) as span:
            span.set_attribute("tandem.shadow.of", task.job.request_id)
            await start_once(SHADOW_WORKFLOW, task, shadow_id(task.job.request_id))

    @activity.defn
    async def count_shadow(self, result: ShadowResult, score: float | None) -> None:
        """What the served answer lost counts for its policy, once. `score`: of the stage that was answered from."""
        job = await current_job()
        profile, watched = job.plan.profile, job.plan.watched
        if watched and result.lost is not None:
            policy = PolicyOf(job.request.tenant, profile, watched.kind, watched.made)
            said = Report(job.request_id, "shadow", result.lost, score=score)
            counting, _ = await self._log.promises.count(policy, watched, said, datetime.now(UTC))
            count_outcome(profile, watched.kind, said.who, counting)
        count_shadow(profile, result)


async def start_once(name: str, task: ShadowInput | BesideInput, workflow_id: str) -> None:
    """What is paid for it is found as a request's bill is (`tandem spend`)."""
    job = task.job
    profile, tenant = job.plan.profile, job.request.tenant
    with contextlib.suppress(WorkflowAlreadyStartedError):
        await activity.client().start_workflow(
            name,
            task,
            id=workflow_id,
            task_queue=solve_queue(profile),
            execution_timeout=Timeouts.workflow,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            memo={"profile": profile, "tenant": tenant, "session": job.request.session},
            search_attributes=whose(profile, tenant) if job.is_searchable else None,
        )
