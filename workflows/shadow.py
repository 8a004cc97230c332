"""The shadow of a request: the large model answers the same question alone, so that what it would have cost is measured.

It runs after the request, under an id and a trace of its own, and has the lowest priority in the large model's queue.
"""

from __future__ import annotations

from temporalio import workflow
from temporalio.common import Priority, RetryPolicy

with workflow.unsafe.imports_passed_through():
    from tandem.method.answer import final_answer
    from tandem.method.names import SHADOW_WORKFLOW, llm_queue, shadow_id
    from tandem.method.result import ShadowInput, ShadowResult
    from tandem.method.tasks import GenerationOutcome, ModelTask
    from tandem.method.timeouts import Timeouts
    from tandem.method.tokens import TokenCounts
    from workflows.activities.models import InsightActivities
    from workflows.activities.shadow import ShadowActivities

_LAST = Priority(priority_key=5)


@workflow.defn(name=SHADOW_WORKFLOW)
class ShadowWorkflow:
    @workflow.run
    async def run(self, task: ShadowInput) -> ShadowResult:
        if task.llm_finished is not None:
            return await self._settle(task, task.served_answer, task.llm_finished, is_paid=False)
        alone: GenerationOutcome = await workflow.execute_activity_method(
            InsightActivities.generate_insight,
            self._model_task(task),
            task_queue=llm_queue(task.plan.profile),
            start_to_close_timeout=Timeouts.attempt,
            heartbeat_timeout=Timeouts.heartbeat,
            retry_policy=RetryPolicy(maximum_attempts=1),
            priority=_LAST,
        )
        return await self._settle(task, final_answer(alone.text, task.plan.answer_format), alone.counts, is_paid=True)

    @staticmethod
    def _model_task(task: ShadowInput) -> ModelTask:
        return ModelTask(
            request_id=shadow_id(task.request_id),
            question=task.question,
            profile=task.plan.profile,
            profile_digest=task.plan.profile_digest,
            max_tokens=(task.plan.answer_max_tokens,),
            sampling=task.sampling,
            prices=task.plan.prices.llm,
            llm_alone=True,
            task=task.task,
            history=tuple(task.history),
            stop_strings=tuple(task.stop_strings),
            json_schema=task.json_schema,
        )

    async def _settle(self, task: ShadowInput, answer: str, counts: TokenCounts, is_paid: bool) -> ShadowResult:
        usd = task.plan.prices.llm.usd(counts)
        result = ShadowResult(
            answer=answer,
            agrees=answer == task.served_answer,
            usd=usd,
            usd_paid=usd if is_paid else 0.0,
            usd_served=task.served_usd,
            usd_estimate=task.estimate_usd,
            output_tokens=counts.completion,
        )
        await workflow.execute_local_activity_method(
            ShadowActivities.count_shadow,
            args=[task.plan.profile, result],
            start_to_close_timeout=Timeouts.local_attempt,
        )
        return result
