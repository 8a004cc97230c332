"""Between the contract's messages (tandem.v1) and the dataclasses of tandem.method: each shape is converted here and only here."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tandem.method.errors import InvalidArgument
from tandem.method.events import (
    AnswerDelta,
    InsightDelta,
    LlmStopped,
    Restarted,
    SolveEvent,
)
from tandem.method.prices import RolePrices
from tandem.method.prompts import Task
from tandem.method.request import Budget, SolveRequest, StopOverrides
from tandem.method.result import ShadowResult, SolveResult, StopReason
from tandem.method.sampling import Sampling
from tandem.method.tasks import GenerationOutcome, ModelTask, PassOutcome
from tandem.method.tokens import TokenCounts
from tandem.v1 import execution_pb2, insight_pb2, tandem_pb2

if TYPE_CHECKING:
    from tandem.method.profile import Profile

TaskRequest = insight_pb2.GenerateRequest | execution_pb2.ExecuteRequest | execution_pb2.PrefillRequest
FinishedMessage = insight_pb2.GenerateFinished | execution_pb2.ExecuteFinished

_TASKS: dict[int, Task] = {
    tandem_pb2.TASK_UNSPECIFIED: "answer",
    tandem_pb2.TASK_ANSWER: "answer",
    tandem_pb2.TASK_CODE: "code",
}
_FINISH_REASONS = {
    "eos": execution_pb2.FINISH_REASON_EOS,
    "length": execution_pb2.FINISH_REASON_LENGTH,
    "aborted": execution_pb2.FINISH_REASON_ABORTED,
}
_ROLES = {"llm": tandem_pb2.ROLE_LLM, "slm": tandem_pb2.ROLE_SLM}


# -- enums and small values -------------------------------------------------------------------------------------------


def task_from_pb(task: int) -> Task:
    """Raises InvalidArgument for a number that this version does not know."""
    if task not in _TASKS:
        raise InvalidArgument(f"unknown task {task}", field="task")
    return _TASKS[task]


def task_to_pb(task: Task) -> tandem_pb2.Task.ValueType:
    return tandem_pb2.TASK_CODE if task == "code" else tandem_pb2.TASK_ANSWER


def stop_reason_to_pb(reason: StopReason | str) -> tandem_pb2.StopReason.ValueType:
    return tandem_pb2.StopReason.Value(f"STOP_REASON_{reason.upper()}")


def finish_reason_from_pb(reason: int) -> str:
    return {number: name for name, number in _FINISH_REASONS.items()}[reason]  # type: ignore[index]


def sampling_from_pb(sampling: tandem_pb2.Sampling) -> Sampling:
    return Sampling(**{field.name: value for field, value in sampling.ListFields()})


def sampling_to_pb(sampling: Sampling) -> tandem_pb2.Sampling:
    return tandem_pb2.Sampling(**asdict(sampling))


def prices_from_pb(prices: tandem_pb2.RolePrices) -> RolePrices:
    return RolePrices(prices.input, prices.cached_input, prices.output)


def prices_to_pb(prices: RolePrices) -> tandem_pb2.RolePrices:
    return tandem_pb2.RolePrices(**asdict(prices))


# -- token counts -----------------------------------------------------------------------------------------------------


def counts_to_pb(model: str, counts: TokenCounts) -> tandem_pb2.TokenUsage:
    return tandem_pb2.TokenUsage(
        model=model,
        input_tokens=counts.prompt,
        cached_input_tokens=counts.cached,
        output_tokens=counts.completion,
        overrun_tokens=counts.overrun,
        discarded_tokens=counts.discarded,
    )


def counts_from_pb(usage: tandem_pb2.TokenUsage, *, is_estimated: bool = False) -> TokenCounts:
    return TokenCounts(
        prompt=usage.input_tokens,
        cached=usage.cached_input_tokens,
        completion=usage.output_tokens,
        overrun=usage.overrun_tokens,
        discarded=usage.discarded_tokens,
        is_estimated=is_estimated,
    )


# -- the request ------------------------------------------------------------------------------------------------------


def solve_request_from_pb(request: tandem_pb2.SolveRequest) -> SolveRequest:
    """Raises InvalidArgument for an unknown task."""
    return SolveRequest(
        request_id=request.request_id,
        question=request.question,
        profile=request.profile,
        budget=Budget(_optional(request.budget, "max_cost_usd"), _optional(request.budget, "max_llm_tokens")),
        stop=StopOverrides(
            threshold=_optional(request.stop, "threshold"),
            thresholds=dict(request.stop.thresholds),
            max_stage=_optional(request.stop, "max_stage"),
        ),
        sampling=sampling_from_pb(request.sampling),
        tenant=request.tenant,
        task=task_from_pb(request.task),
    )


# -- a model's task and its outcome -----------------------------------------------------------------------------------


def generate_request_to_pb(task: ModelTask) -> insight_pb2.GenerateRequest:
    return insight_pb2.GenerateRequest(
        **_common_to_pb(task),
        epoch=task.epoch,
        stage_max_tokens=task.max_tokens,
        sampling=sampling_to_pb(task.sampling),
        alone=task.llm_alone,
    )


def execute_request_to_pb(task: ModelTask) -> execution_pb2.ExecuteRequest:
    return execution_pb2.ExecuteRequest(
        **_common_to_pb(task),
        epoch=task.epoch,
        stage=task.stage,
        max_tokens=task.max_tokens[-1],
        sampling=sampling_to_pb(task.sampling),
    )


def prefill_request_to_pb(task: ModelTask) -> execution_pb2.PrefillRequest:
    return execution_pb2.PrefillRequest(**_common_to_pb(task), stage=task.stage)


def model_task_from_pb(request: TaskRequest, profile: str) -> ModelTask:
    """The task of any of the three requests; `profile` is the one that the service serves."""
    common: dict[str, Any] = {
        "request_id": request.request_id,
        "question": request.question,
        "profile": profile,
        "profile_digest": request.profile_digest,
        "prices": prices_from_pb(request.prices),
        "task": task_from_pb(request.task),
    }
    if isinstance(request, execution_pb2.PrefillRequest):
        return ModelTask(**common, stage=request.stage)
    common |= {"epoch": request.epoch, "sampling": sampling_from_pb(request.sampling)}
    if isinstance(request, execution_pb2.ExecuteRequest):
        return ModelTask(**common, stage=request.stage, max_tokens=(request.max_tokens,))
    return ModelTask(**common, max_tokens=tuple(request.stage_max_tokens), llm_alone=request.alone)


def finished_to_pb(outcome: GenerationOutcome, kind: type[Any]) -> Any:
    """A FinishedMessage of `kind`, from a role's outcome."""
    message = kind(
        reason=_FINISH_REASONS[outcome.reason],
        text=outcome.text,
        tokens=outcome.counts.completion + outcome.counts.overrun,
        halted_at_unix_ms=outcome.finished_at * 1000,
        first_token_at_unix_ms=None if outcome.first_token_at is None else outcome.first_token_at * 1000,
    )
    if isinstance(message, insight_pb2.GenerateFinished):
        message.usage_is_estimated = outcome.counts.is_estimated
    else:
        message.tokens, message.continued = outcome.counts.completion, outcome.continued_from
    return message


def outcome_from_pb(
    finished: FinishedMessage, counts: TokenCounts, attempt: int, *, is_logged: bool = True
) -> GenerationOutcome:
    has_token = finished.HasField("first_token_at_unix_ms")
    return GenerationOutcome(
        reason=finish_reason_from_pb(finished.reason),
        text=finished.text,
        counts=counts,
        finished_at=finished.halted_at_unix_ms / 1000,
        first_token_at=finished.first_token_at_unix_ms / 1000 if has_token else None,
        attempt=attempt,
        is_logged=is_logged,
        continued_from=getattr(finished, "continued", ""),
    )


def prefill_response_to_pb(outcome: PassOutcome) -> execution_pb2.PrefillResponse:
    return execution_pb2.PrefillResponse(
        input_tokens=outcome.counts.prompt,
        cached_input_tokens=outcome.counts.cached,
        request_input_tokens=outcome.request_counts.prompt,
        request_cached_input_tokens=outcome.request_counts.cached,
    )


def prefill_response_from_pb(response: execution_pb2.PrefillResponse) -> PassOutcome:
    return PassOutcome(
        TokenCounts(response.input_tokens, response.cached_input_tokens),
        TokenCounts(response.request_input_tokens, response.request_cached_input_tokens),
    )


# -- events and the result --------------------------------------------------------------------------------------------


def event_to_pb(cursor: str, event: SolveEvent) -> tandem_pb2.SolveEvent:
    if isinstance(event, InsightDelta):  # most events are text: the shortest way for them
        return tandem_pb2.SolveEvent(
            cursor=cursor, insight_delta=tandem_pb2.InsightDelta(text=event.text, tokens=event.tokens)
        )
    if isinstance(event, AnswerDelta):
        return tandem_pb2.SolveEvent(
            cursor=cursor, answer_delta=tandem_pb2.AnswerDelta(text=event.text, tokens=event.tokens)
        )
    if isinstance(event, SolveResult):
        return tandem_pb2.SolveEvent(cursor=cursor, completed=result_to_pb(event))
    fields: dict[str, Any] = asdict(event)
    if isinstance(event, LlmStopped):
        fields["reason"] = stop_reason_to_pb(event.reason)
    if isinstance(event, Restarted):
        fields["role"] = _ROLES[event.role]
    message: Any = {event.kind: fields}
    return tandem_pb2.SolveEvent(cursor=cursor, **message)


def result_to_pb(result: SolveResult) -> tandem_pb2.SolveResult:
    return tandem_pb2.SolveResult(
        request_id=result.request_id,
        profile=result.profile,
        question=result.question,
        answer=result.answer,
        reasoning=result.reasoning,
        stop=tandem_pb2.Stop(**(asdict(result.stop) | {"reason": stop_reason_to_pb(result.stop.reason)})),
        stages=[tandem_pb2.StageResult(**asdict(stage)) for stage in result.stages],
        usage=tandem_pb2.UsageByRole(
            llm=counts_to_pb(result.llm, result.usage.llm),
            slm=counts_to_pb(result.slm, result.usage.slm),
            scorer=counts_to_pb(result.slm, result.usage.scorer),
        ),
        cost=tandem_pb2.Cost(**asdict(result.cost)),
        timings_ms=tandem_pb2.Timings(**asdict(result.timings_ms)),
        trace_id=result.trace_id,
        attempts=result.attempts,
        complete=result.complete,
        notes=result.notes,
    )


def shadow_to_pb(shadow: ShadowResult) -> tandem_pb2.Shadow:
    return tandem_pb2.Shadow(**asdict(shadow))


def profile_to_pb(profile: Profile) -> tandem_pb2.Profile:
    return tandem_pb2.Profile(
        name=profile.name,
        description=profile.description,
        llm=profile.llm.name,
        slm=profile.slm.name,
        handoff=profile.handoff,
        stages=[
            tandem_pb2.ProfileStage(name=s.name, max_tokens=s.max_tokens, threshold=s.threshold) for s in profile.stages
        ],
        scorer=profile.stop.scorer,
        scorer_trained=profile.stop.is_trained,
        max_question_tokens=profile.max_question_tokens,
        price_version=profile.prices.version,
    )


def _common_to_pb(task: ModelTask) -> dict[str, Any]:
    return {
        "request_id": task.request_id,
        "question": task.question,
        "prices": prices_to_pb(task.prices),
        "task": task_to_pb(task.task),
        "profile_digest": task.profile_digest,
    }


def _optional(message: Any, field: str) -> Any:
    return getattr(message, field) if message.HasField(field) else None
