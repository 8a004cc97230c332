"""The dry run of a request that the large model answered: the small models of `[agreement]` are asked beside it. They
answer nothing; what they say tells what agreement would have saved.

It is found as a request is, by what the request would have cost: `verified` where the small models agreed with each
other and with the large one, `unverified_best` where they agreed on another answer, `llm_finished` where they did not.
"""

from __future__ import annotations

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from services.shared.process.search_attributes import outcome
    from tandem.method.evidence.same_answer import same
    from tandem.method.names import DRY_RUN_WORKFLOW
    from tandem.method.request.job import Step
    from tandem.method.request.result import DryRun, DryRunInput, StopReason
    from tandem.method.request.tasks import AgreementOutcome, Asked, GenerationOutcome
    from tandem.method.timeouts import Timeouts
    from tandem.method.tools import as_lines, named
    from workflows.activities.agreement import AgreementActivities, answer_of, calls_of, compared_as
    from workflows.activities.jobs import remember


@workflow.defn(name=DRY_RUN_WORKFLOW)
class DryRunWorkflow:
    @workflow.run
    async def run(self, task: DryRunInput) -> DryRun:
        remember(workflow.info().run_id, task.job)
        found: AgreementOutcome = await workflow.execute_activity_method(
            AgreementActivities.agree,
            args=[task.steps, task.trial],
            start_to_close_timeout=Timeouts.attempt,
            heartbeat_timeout=Timeouts.heartbeat,
            retry_policy=RetryPolicy(maximum_attempts=1),
        )
        amounts = [_usd(step, asked) for step, asked in zip(task.steps, found.asked, strict=True)]
        paid = None if None in amounts else sum(filter(None, amounts))
        taken = found.asked[found.taken].outcome if found.taken is not None else None
        result = DryRun(_reason(task, taken), paid, [_text(asked) for asked in found.asked], task.served.answer)
        if taken is not None and task.job.request.tools.may_call and not calls_of(taken):
            workflow.upsert_memo({"no_call": True})
        if task.job.is_searchable:
            workflow.upsert_search_attributes(outcome(*_cost(task, result), 0, result.reason))
        return result


def _cost(task: DryRunInput, result: DryRun) -> tuple[float | None, float | None]:
    """USD of the request with agreement, and the share that this saves; None where a price is not known."""
    if result.usd_paid is None or not task.served.usd:
        return None, None
    usd = result.usd_paid + (task.served.usd if result.reason is StopReason.LLM_FINISHED else 0.0)
    return usd, 1 - usd / task.served.usd


def _usd(step: Step, asked: Asked) -> float | None:
    return step.prices.usd(asked.outcome.counts if asked.outcome else asked.reported)


def _text(asked: Asked) -> str:
    """Calls, or the text."""
    return (as_lines(calls_of(asked.outcome)) or asked.outcome.text) if asked.outcome else ""


def _reason(task: DryRunInput, taken: GenerationOutcome | None) -> StopReason:
    if taken is None:
        return StopReason.LLM_FINISHED
    kind = compared_as(task.job.request)
    served = named(task.served.calls) if kind.form == "calls" else task.served.answer
    is_same = same(kind, answer_of(kind, taken, task.job.plan.answer_format), served)
    return StopReason.VERIFIED if is_same else StopReason.UNVERIFIED_BEST
