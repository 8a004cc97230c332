"""What a model or the checker came to: from a service to the workflow."""

from __future__ import annotations

from typing import Any

from tandem.convert.messages import enum_name, enum_number, from_pb
from tandem.convert.values import counts_from_pb, counts_to_pb, message_from_pb, message_to_pb
from tandem.method.evidence.begun_answer import Begun
from tandem.method.evidence.checks import CheckResult
from tandem.method.request.job import Step
from tandem.method.request.tasks import GenerationOutcome
from tandem.method.tokens import TokenCounts
from tandem.v1 import execution_pb2, insight_pb2, tandem_pb2

_REASON = execution_pb2.FinishReason.DESCRIPTOR
FinishedMessage = insight_pb2.GenerateFinished | execution_pb2.ExecuteFinished


def finished_to_pb(outcome: GenerationOutcome, kind: type[Any]) -> Any:
    """A FinishedMessage of `kind`, from a role's outcome."""
    message = kind(
        reason=enum_number(_REASON, outcome.reason),
        text=outcome.text,
        tokens=outcome.counts.completion + outcome.counts.overrun,
        halted_at_unix_ms=outcome.finished_at * 1000,
        first_token_at_unix_ms=None if outcome.first_token_at is None else outcome.first_token_at * 1000,
    )
    if isinstance(message, execution_pb2.ExecuteFinished):
        message.tokens, message.continued = outcome.counts.completion, outcome.continued_from
    if outcome.prompt:
        message.prompt.CopyFrom(counts_to_pb("", outcome.prompt))
    if outcome.message:
        message.message.CopyFrom(message_to_pb(outcome.message))
    return message


def outcome_from_pb(
    finished: FinishedMessage, counts: TokenCounts, attempt: int, *, is_logged: bool = True
) -> GenerationOutcome:
    has_token = finished.HasField("first_token_at_unix_ms")
    return GenerationOutcome(
        reason=enum_name(_REASON, finished.reason),
        text=finished.text,
        counts=counts,
        finished_at=finished.halted_at_unix_ms / 1000,
        first_token_at=finished.first_token_at_unix_ms / 1000 if has_token else None,
        attempt=attempt,
        is_logged=is_logged,
        continued_from=getattr(finished, "continued", ""),
        prompt=counts_from_pb(finished.prompt) if finished.HasField("prompt") else None,
        message=message_from_pb(finished.message) if finished.HasField("message") else None,
    )


def begun_to_pb(begun: Begun) -> execution_pb2.ExecuteBegun:
    if isinstance(begun.answer, str):
        return execution_pb2.ExecuteBegun(text=begun.answer)
    calls = (tandem_pb2.ToolCall(name=name, arguments=arguments) for name, arguments in begun.answer)
    return execution_pb2.ExecuteBegun(calls=calls)


def begun_from_pb(begun: execution_pb2.ExecuteBegun) -> Begun:
    return Begun(tuple((call.name, call.arguments) for call in begun.calls) or begun.text)


def prefill_response_to_pb(own: TokenCounts, every: TokenCounts) -> execution_pb2.PrefillResponse:
    """From the counts of this prefill, and of every one of the request."""
    return execution_pb2.PrefillResponse(
        input_tokens=own.prompt,
        cached_input_tokens=own.cached,
        request_input_tokens=every.prompt,
        request_cached_input_tokens=every.cached,
    )


def prefill_response_from_pb(response: execution_pb2.PrefillResponse) -> tuple[TokenCounts, TokenCounts]:
    return (
        TokenCounts(response.input_tokens, response.cached_input_tokens),
        TokenCounts(response.request_input_tokens, response.request_cached_input_tokens),
    )


def check_result_from_pb(result: tandem_pb2.CheckResult, step: Step) -> CheckResult:
    """With stage, role and trial of the step whose answer was checked."""
    return from_pb(result, CheckResult, stage=step.stage, role=step.role, trial=step.trial)
