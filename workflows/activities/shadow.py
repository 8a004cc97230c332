"""The shadow's activities."""

from __future__ import annotations

import contextlib

from opentelemetry import trace
from opentelemetry.context import Context
from temporalio import activity
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from services.observability import metrics
from services.observability.tracing import tracer
from tandem.method.names import SHADOW_WORKFLOW, shadow_id, solve_queue
from tandem.method.result import ShadowInput, ShadowResult
from tandem.method.timeouts import Timeouts


class ShadowActivities:
    @activity.defn
    async def start_shadow(self, task: ShadowInput) -> None:
        """Start the shadow under a trace of its own, linked to the request's; a request has one at most."""
        link = trace.Link(trace.get_current_span().get_span_context())
        with tracer.start_as_current_span("shadow", context=Context(), links=[link]) as span:
            span.set_attribute("tandem.shadow.of", task.request_id)
            with contextlib.suppress(WorkflowAlreadyStartedError):
                await activity.client().start_workflow(
                    SHADOW_WORKFLOW,
                    task,
                    id=shadow_id(task.request_id),
                    task_queue=solve_queue(task.plan.profile),
                    execution_timeout=Timeouts.workflow,
                    id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                )

    @activity.defn
    async def count_shadow(self, profile: str, result: ShadowResult) -> None:
        metrics.count_shadow(profile, result)
