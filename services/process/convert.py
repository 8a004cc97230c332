"""Between the contract's messages and the dataclasses that several services share."""

from __future__ import annotations

from typing import Any, Literal

from services.request_log.generation import Attempt
from tandem.method.prices import RolePrices
from tandem.v1 import execution_pb2, tandem_pb2

_REASONS = {
    "eos": execution_pb2.FINISH_REASON_EOS,
    "length": execution_pb2.FINISH_REASON_LENGTH,
    "aborted": execution_pb2.FINISH_REASON_ABORTED,
}


def task_name(task: tandem_pb2.Task.ValueType) -> Literal["answer", "code"]:
    return "code" if task == tandem_pb2.TASK_CODE else "answer"


def sampling_arguments(sampling: tandem_pb2.Sampling) -> dict[str, Any]:
    """The fields that the caller set."""
    return {field.name: value for field, value in sampling.ListFields()}


def prices_of(prices: tandem_pb2.RolePrices) -> RolePrices:
    return RolePrices(prices.input, prices.cached_input, prices.output)


def finish_reason(reason: str) -> execution_pb2.FinishReason.ValueType:
    return _REASONS[reason]


def usage_of(model: str, attempt: Attempt) -> tandem_pb2.TokenUsage:
    return tandem_pb2.TokenUsage(
        model=model,
        input_tokens=attempt.input_tokens,
        cached_input_tokens=attempt.cached_input_tokens,
        output_tokens=attempt.output_tokens,
        overrun_tokens=attempt.overrun_tokens,
        discarded_tokens=attempt.discarded_tokens,
    )


def milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


def model_info(engine: Any) -> execution_pb2.GetModelInfoResponse:
    """From an Engine (services.engine.api): what it runs, and what it has counted."""
    info = engine.info
    return execution_pb2.GetModelInfoResponse(
        model=info.name,
        revision=info.revision,
        dtype=info.dtype,
        device=info.device,
        parameters=info.parameters,
        context_length=info.context_length,
        engine=info.engine,
        engine_version=info.engine_version,
        input_tokens_total=engine.counters.input_tokens,
        output_tokens_total=engine.counters.output_tokens,
    )
