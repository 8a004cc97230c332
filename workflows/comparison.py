"""What the served answer lost against the large model's own: by the texts, by checks, or by a judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from temporalio import workflow
from temporalio.common import Priority, RetryPolicy
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from tandem.method.conversation import kind_of
    from tandem.method.evidence.checks import AGREEMENT, PROGRAMS_AGREE, CheckResult, CheckSpec, Verdict, combined
    from tandem.method.evidence.same_answer import JUDGE_TOKENS, answer_kind, judged_loss, judges_question, same
    from tandem.method.names import judge_id, llm_queue, shadow_id
    from tandem.method.request.plan import Judge
    from tandem.method.request.result import ShadowInput
    from tandem.method.request.tasks import CheckTask, GenerationOutcome, ModelTask
    from tandem.method.timeouts import Timeouts
    from tandem.method.tools import Call, as_lines, named
    from workflows.activities.checking import CheckingActivities
    from workflows.activities.models import InsightActivities

_LAST = Priority(priority_key=5)


@dataclass(frozen=True, slots=True)
class Comparison:
    """`lost` is 0 or 1; None: nothing could compare. `usd` is what the judge cost; None: its price is not known."""

    lost: float | None = None
    by: str = ""
    usd: float | None = 0.0


async def compare(task: ShadowInput, of_llm: str, calls: Sequence[Call]) -> Comparison:
    """The large model's text, or the calls where it may make some, with what was served. A judge, where there is one,
    has the word where nothing else can tell, or answers differ.
    """
    may_call = task.tools.may_call
    kind = kind_of(task.task, task.json_schema, may_call=may_call, question=task.question)
    compared_as = answer_kind(kind, task.tools.tools, task.json_schema)
    served = named(task.served_calls) if may_call else task.served_answer
    alike = same(compared_as, calls if may_call else of_llm, served)
    if alike:
        return Comparison(0.0, "match")
    found = await _checked(task, of_llm) if kind == "code" else _by_text(alike)
    if task.plan.judge and found.by != "check":
        return await _judged(task, as_lines(calls) or of_llm, task.plan.judge)
    return found


def served_text(task: ShadowInput) -> str:
    """Calls as lines."""
    return as_lines(named(task.served_calls)) or task.served_answer


async def write_last(model_task: ModelTask) -> GenerationOutcome:
    """What the large model of the task's profile writes, once no request waits for it."""
    outcome: GenerationOutcome = await workflow.execute_activity_method(
        InsightActivities.generate_insight,
        model_task,
        task_queue=llm_queue(model_task.profile),
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
    verdict = await _verdict(task, task.served_answer, [CheckSpec(PROGRAMS_AGREE, of_llm)])
    if verdict is Verdict.PASS:
        return Comparison(0.0, "check")
    if verdict is not Verdict.FAIL:
        return Comparison()
    own = [check for check in task.checks if check.name not in (AGREEMENT, PROGRAMS_AGREE)]
    is_wrong = bool(own) and await _verdict(task, of_llm, own) is Verdict.FAIL
    return Comparison(0.0 if is_wrong else 1.0, "check")


async def _verdict(task: ShadowInput, answer: str, checks: list[CheckSpec]) -> Verdict:
    asked = CheckTask(shadow_id(task.request_id), task.question, answer, checks, task.task, role="llm", number=0)
    try:
        results: list[CheckResult] = await workflow.execute_activity_method(
            CheckingActivities.check,
            asked,
            start_to_close_timeout=Timeouts.attempt,
            heartbeat_timeout=Timeouts.heartbeat,
            retry_policy=RetryPolicy(maximum_attempts=2),
        )
    except ActivityError:
        return Verdict.ERROR
    return combined(results)


async def _judged(task: ShadowInput, of_llm: str, judge: Judge) -> Comparison:
    asked = ModelTask(
        request_id=judge_id(task.request_id),
        question=judges_question(task.question, of_llm, served_text(task)),
        profile=judge.profile,
        profile_digest=judge.profile_digest,
        max_tokens=(JUDGE_TOKENS,),
        prices=judge.prices,
        llm_alone=True,
    )
    try:
        said = await write_last(asked)
    except ActivityError:
        return Comparison()
    return Comparison(judged_loss(said.text), "judge", judge.prices.usd(said.counts))
