"""The shadow of a request: the large model answers the same question alone, so that what it would have cost is measured.

It runs after the request, under an id and a trace of its own, and waits in the large model's queue behind every request.
"""

from __future__ import annotations

from typing import Any

from temporalio import workflow
from temporalio.common import Priority, RetryPolicy

with workflow.unsafe.imports_passed_through():
    from tandem.method.answer import final_answer
    from tandem.method.cost import usd
    from tandem.method.shared import (
        SHADOW_WORKFLOW,
        InsightOutcome,
        InsightTask,
        RoleUsage,
        ShadowInput,
        ShadowResult,
        Timeouts,
        llm_queue,
        shadow_id,
    )
    from workflows.activities import Activities

_LAST = Priority(priority_key=5)


@workflow.defn(name=SHADOW_WORKFLOW)
class ShadowWorkflow:
    @workflow.run
    async def run(self, task: ShadowInput) -> ShadowResult:
        if task.llm_finished is not None:
            return await self._settle(task, task.served_answer, task.llm_finished, is_paid=False)
        alone: InsightOutcome = await workflow.execute_activity_method(
            Activities.generate_insight,
            self._insight_task(task),
            task_queue=llm_queue(task.plan.profile),
            start_to_close_timeout=Timeouts.attempt,
            heartbeat_timeout=Timeouts.heartbeat,
            retry_policy=RetryPolicy(maximum_attempts=1),
            priority=_LAST,
        )
        return await self._settle(task, final_answer(alone.text, task.plan.answer_format), alone.usage, is_paid=True)

    @staticmethod
    def _insight_task(task: ShadowInput) -> InsightTask:
        return InsightTask(
            request_id=shadow_id(task.request_id),
            question=task.question,
            caps=[task.plan.answer_max_tokens],
            sampling=task.sampling,
            profile=task.plan.profile,
            prices=task.plan.prices.llm,
            alone=True,
            task=task.plan.task,
        )

    async def _settle(self, task: ShadowInput, answer: str, usage: RoleUsage, is_paid: bool) -> ShadowResult:
        price = usd(usage, task.plan.prices.llm)
        result = ShadowResult(
            answer=answer,
            agrees=answer == task.served_answer,
            usd=price,
            usd_paid=price if is_paid else 0.0,
            usd_served=task.served_usd,
            usd_estimate=task.estimate_usd,
            output_tokens=usage.output_tokens,
        )
        count: Any = Activities.count_shadow
        await workflow.execute_local_activity_method(
            count, args=[task.plan.profile, result], start_to_close_timeout=Timeouts.local_attempt
        )
        return result
