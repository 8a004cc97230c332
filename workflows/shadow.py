"""The shadow of a request: the large model answers the same question alone, so that what it would have cost is
measured.

It runs after the request, under an id and a trace of its own, and has the lowest priority in the large model's queue.
"""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from services.shared.process.search_attributes import outcome
    from tandem.method.answer import final_answer
    from tandem.method.names import SHADOW_WORKFLOW, shadow_id
    from tandem.method.request.result import ShadowInput, ShadowResult, StopReason
    from tandem.method.request.tasks import ModelTask
    from tandem.method.timeouts import Timeouts
    from tandem.method.tokens import TokenCounts
    from tandem.method.tools import as_lines
    from workflows.activities.agreement import calls_of
    from workflows.activities.shadow import ShadowActivities
    from workflows.comparison import Comparison, compare, served_text, write_last


@workflow.defn(name=SHADOW_WORKFLOW)
class ShadowWorkflow:
    @workflow.run
    async def run(self, task: ShadowInput) -> ShadowResult:
        if task.llm_finished is not None:
            served = Comparison(0.0, "served")
            return await self._settle(task, served_text(task), task.llm_finished, served, is_paid=False)
        alone = await write_last(self._model_task(task))
        calls, text = calls_of(alone), final_answer(alone.text, task.plan.answer_format)
        compared = await compare(task, text, calls) if alone.reason == "eos" else Comparison()
        return await self._settle(task, as_lines(calls) or text, alone.counts, compared, is_paid=True)

    @staticmethod
    def _model_task(task: ShadowInput) -> ModelTask:
        return ModelTask(
            request_id=shadow_id(task.request_id),
            question=task.question,
            profile=task.plan.profile,
            profile_digest=task.plan.profile_digest,
            max_tokens=(task.plan.answer_max_tokens,),
            sampling=task.sampling,
            prices=task.plan.llm.prices,
            llm_alone=True,
            task=task.task,
            history=tuple(task.history),
            stop_strings=tuple(task.stop_strings),
            json_schema=task.json_schema,
            tools=task.tools,
        )

    async def _settle(
        self, task: ShadowInput, answer: str, counts: TokenCounts, compared: Comparison, *, is_paid: bool
    ) -> ShadowResult:
        usd = task.plan.llm.prices.usd(counts)
        result = ShadowResult(
            answer=answer,
            agrees=compared.lost == 0 if task.tools.may_call else answer == task.served_answer,
            usd=usd,
            usd_paid=usd if is_paid else 0.0,
            usd_served=task.served_usd,
            usd_estimate=task.estimate_usd,
            output_tokens=counts.completion,
            lost=compared.lost,
            compared_by=compared.by,
            usd_judge=compared.usd,
        )
        await workflow.execute_local_activity_method(
            ShadowActivities.count_shadow,
            args=[task.plan.profile, result, task],
            start_to_close_timeout=Timeouts.local_attempt,
        )
        if task.is_searchable:
            workflow.upsert_search_attributes(outcome(result.usd_beside, None, 0, StopReason.LLM_FINISHED))
        return result
