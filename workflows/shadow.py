"""The shadow of a request: the large model answers the same question alone, so that what it would have cost is
measured, and what the served answer lost against its own: by the texts, by checks, or by a judge.

It runs after the request, under an id and a trace of its own, and has the lowest priority in the large model's queue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from temporalio import workflow
from temporalio.common import Priority, RetryPolicy
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from services.shared.process.search_attributes import outcome
    from tandem.method.answer import final_answer
    from tandem.method.evidence.checks import AGREEMENT, PROGRAMS_AGREE, CheckResult, CheckSpec, Verdict, combined
    from tandem.method.evidence.same_answer import JUDGE_TOKENS, answer_kind, judged_loss, judges_question, same
    from tandem.method.names import SHADOW_WORKFLOW, judge_id, llm_queue, shadow_id
    from tandem.method.request.job import Job, Step
    from tandem.method.request.plan import Judge
    from tandem.method.request.request import SolveRequest
    from tandem.method.request.result import Served, ShadowInput, ShadowResult, StopReason
    from tandem.method.request.tasks import GenerationOutcome, ToCheck
    from tandem.method.roles import LLM
    from tandem.method.timeouts import Timeouts
    from tandem.method.tokens import TokenCounts
    from tandem.method.tools import Call, as_lines, named
    from workflows.activities.agreement import calls_of
    from workflows.activities.checking import CheckingActivities
    from workflows.activities.jobs import remember
    from workflows.activities.models import InsightActivities
    from workflows.activities.shadow import ShadowActivities

_LAST = Priority(priority_key=5)


@dataclass(frozen=True, slots=True)
class Comparison:
    """`lost` is 0 or 1; None: nothing could compare. `usd` is what the judge cost; None: its price is not known."""

    lost: float | None = None
    by: str = ""
    usd: float | None = 0.0


@workflow.defn(name=SHADOW_WORKFLOW)
class ShadowWorkflow:
    @workflow.run
    async def run(self, task: ShadowInput) -> ShadowResult:
        remember(workflow.info().run_id, task.job)
        if task.llm_finished is not None:
            served = Comparison(0.0, "served")
            return await self._settle(task, served_text(task.served), task.llm_finished, served, is_paid=False)
        alone = await write_last(InsightActivities.generate_insight, _alone(task.job))
        calls, text = calls_of(alone), final_answer(alone.text, task.job.plan.answer_format)
        compared = await compare(task, text, calls) if alone.reason == "eos" else Comparison()
        return await self._settle(task, as_lines(calls) or text, alone.counts, compared, is_paid=True)

    async def _settle(
        self, task: ShadowInput, answer: str, counts: TokenCounts, compared: Comparison, *, is_paid: bool
    ) -> ShadowResult:
        job, served = task.job, task.served
        usd = job.plan.llm.prices.usd(counts)
        result = ShadowResult(
            answer=answer,
            agrees=compared.lost == 0 if job.request.tools.may_call else answer == served.answer,
            usd=usd,
            usd_paid=usd if is_paid else 0.0,
            usd_served=served.usd,
            usd_estimate=served.usd_llm_alone,
            output_tokens=counts.completion,
            lost=compared.lost,
            compared_by=compared.by,
            usd_judge=compared.usd,
        )
        await workflow.execute_local_activity_method(
            ShadowActivities.count_shadow,
            args=[result, served.score],
            start_to_close_timeout=Timeouts.local_attempt,
        )
        if job.is_searchable:
            workflow.upsert_search_attributes(outcome(result.usd_beside, None, 0, StopReason.LLM_FINISHED))
        return result


def _alone(job: Job) -> Step:
    step = job.step(LLM, max_tokens=(job.plan.answer_max_tokens,))
    return replace(step, request_id=shadow_id(job.request_id), is_alone=True)


async def compare(task: ShadowInput, of_llm: str, calls: Sequence[Call]) -> Comparison:
    """The large model's text, or the calls where it may make some, with what was served. A judge, where there is one,
    has the word where nothing else can tell, or answers differ.
    """
    request, judge = task.job.request, task.job.plan.judge
    may_call = request.tools.may_call
    compared_as = answer_kind(request.kind, request.tools.tools, request.json_schema)
    served = named(task.served.calls) if may_call else task.served.answer
    alike = same(compared_as, calls if may_call else of_llm, served)
    if alike:
        return Comparison(0.0, "match")
    found = await _checked(task, of_llm) if request.kind == "code" else _by_text(alike)
    if judge and found.by != "check":
        return await _judged(task, as_lines(calls) or of_llm, judge)
    return found


def served_text(served: Served) -> str:
    """Calls as lines."""
    return as_lines(named(served.calls)) or served.answer


async def write_last(activity: Any, step: Step, *more: Any) -> GenerationOutcome:
    """What the large model of the step's profile writes, once no request waits for it. `activity`: one of
    InsightActivities.
    """
    outcome: GenerationOutcome = await workflow.execute_activity_method(
        activity,
        args=[step, *more],
        task_queue=llm_queue(step.profile),
        start_to_close_timeout=Timeouts.attempt,
        heartbeat_timeout=Timeouts.heartbeat,
        retry_policy=RetryPolicy(maximum_attempts=1),
        priority=_LAST,
    )
    return outcome


def _by_text(alike: bool | None) -> Comparison:
    return Comparison() if alike is None else Comparison(1.0, "match")


async def _checked(task: ShadowInput, of_llm: str) -> Comparison:
    """Programs that compute the same lose nothing; nor does one that differs from a program that fails the request's
    checks.
    """
    job = task.job
    verdict = await verdict_of(job, shadow_id(job.request_id), task.served.answer, [CheckSpec(PROGRAMS_AGREE, of_llm)])
    if verdict is Verdict.PASS:
        return Comparison(0.0, "check")
    if verdict is not Verdict.FAIL:
        return Comparison()
    own = [check for check in job.checks if check.name not in (AGREEMENT, PROGRAMS_AGREE)]
    is_wrong = bool(own) and await verdict_of(job, shadow_id(job.request_id), of_llm, own) is Verdict.FAIL
    return Comparison(0.0 if is_wrong else 1.0, "check")


async def verdict_of(job: Job, request_id: str, answer: str, checks: list[CheckSpec]) -> Verdict:
    """What the checks say of an answer, logged as of `request_id`."""
    step = replace(job.step(LLM), request_id=request_id)
    try:
        results: list[CheckResult] = await workflow.execute_activity_method(
            CheckingActivities.check,
            args=[step, ToCheck(answer, checks, number=0)],
            start_to_close_timeout=Timeouts.attempt,
            heartbeat_timeout=Timeouts.heartbeat,
            retry_policy=RetryPolicy(maximum_attempts=2),
        )
    except ActivityError:
        return Verdict.ERROR
    return combined(results)


async def _judged(task: ShadowInput, of_llm: str, judge: Judge) -> Comparison:
    asked_as = judge_id(task.job.request_id)
    question = judges_question(task.job.request.question, of_llm, served_text(task.served))
    step = Step(
        asked_as,
        judge.profile,
        judge.profile_digest,
        LLM,
        max_tokens=(JUDGE_TOKENS,),
        is_alone=True,
        prices=judge.prices,
    )
    try:
        said = await write_last(InsightActivities.judge, step, SolveRequest(asked_as, question, judge.profile))
    except ActivityError:
        return Comparison()
    return Comparison(judged_loss(said.text), "judge", judge.prices.usd(said.counts))
