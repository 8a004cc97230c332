from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2

from services.http_gateway.errors import from_gateway
from services.models.engine.api import (
    ApiBadReply,
    ApiRefused,
    ApiUnavailable,
    DuplicateRequest,
    EngineError,
    EngineStopped,
    GenerationFailed,
    InvalidSchema,
    PromptRefused,
    PromptTooLong,
    QueueFull,
    SchemaNotSupported,
    UnknownModel,
)
from services.shared.process.status import STATUS_OF, from_engine, to_status
from tandem.errors import RequestError
from tandem.method import errors
from tandem.method.errors import InvalidArgument, ResourceExhausted, TandemError


def test_the_table_has_a_status_for_every_error() -> None:
    tree = [
        e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, TandemError) and e is not TandemError
    ]
    assert set(STATUS_OF) == set(tree)


def details(error: TandemError) -> dict[str, object]:
    kinds = (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo)
    found = {}
    for packed in to_status(error).details:
        for kind in kinds:
            message = kind()
            if packed.Unpack(message):
                found[kind.__name__] = message
    return found


def test_a_bad_field_is_named_twice_for_people_and_for_programs() -> None:
    found = details(InvalidArgument("too long", field="question", reason="QUESTION_TOO_LONG"))
    assert found["ErrorInfo"].reason == "QUESTION_TOO_LONG"  # type: ignore[attr-defined]
    assert found["BadRequest"].field_violations[0].field == "question"  # type: ignore[attr-defined]


def test_a_full_queue_says_when_to_come_back() -> None:
    found = details(ResourceExhausted("full", retry_after_s=1.5))
    assert found["RetryInfo"].retry_delay.ToMilliseconds() == 1500  # type: ignore[attr-defined]
    assert "RetryInfo" not in details(ResourceExhausted("over budget"))


# What a caller sees of each engine error; Temporal retries UNAVAILABLE and RESOURCE_EXHAUSTED, and none of the others.
ENGINE_ERRORS = {
    EngineError: grpc.StatusCode.FAILED_PRECONDITION,
    PromptTooLong: grpc.StatusCode.INVALID_ARGUMENT,
    QueueFull: grpc.StatusCode.RESOURCE_EXHAUSTED,
    DuplicateRequest: grpc.StatusCode.FAILED_PRECONDITION,
    EngineStopped: grpc.StatusCode.UNAVAILABLE,
    InvalidSchema: grpc.StatusCode.INVALID_ARGUMENT,
    PromptRefused: grpc.StatusCode.INVALID_ARGUMENT,
    SchemaNotSupported: grpc.StatusCode.FAILED_PRECONDITION,
    GenerationFailed: grpc.StatusCode.FAILED_PRECONDITION,
    UnknownModel: grpc.StatusCode.FAILED_PRECONDITION,
    ApiBadReply: grpc.StatusCode.FAILED_PRECONDITION,
    ApiRefused: grpc.StatusCode.FAILED_PRECONDITION,
    ApiUnavailable: grpc.StatusCode.UNAVAILABLE,
}


def engine_errors(base: type[EngineError] = EngineError) -> set[type[EngineError]]:
    """`base` and all classes below it that the services define."""
    below = (engine_errors(error) for error in base.__subclasses__() if error.__module__.startswith("services."))
    return {base}.union(*below)


def test_no_engine_error_is_missing_from_the_table() -> None:
    assert engine_errors() == set(ENGINE_ERRORS)


@pytest.mark.parametrize(("error", "status"), ENGINE_ERRORS.items())
def test_every_engine_error_has_a_status_and_keeps_its_reason(
    error: type[EngineError], status: grpc.StatusCode
) -> None:
    known = from_engine(error("what happened"))
    assert known is not None
    assert STATUS_OF[type(known)] is status
    assert (known.reason, str(known)) == (error.reason, "what happened")


def test_a_prompt_that_is_too_long_names_the_question_and_a_full_queue_says_when_to_come_back() -> None:
    too_long, full = from_engine(PromptTooLong("x")), from_engine(QueueFull("x"))
    assert isinstance(too_long, InvalidArgument)
    assert too_long.field == "question"
    assert isinstance(full, ResourceExhausted)
    assert full.retry_after_s == 1.0


def test_an_error_that_is_not_the_engines_has_no_status_of_its_own() -> None:
    assert from_engine(ValueError("x")) is None


def test_http_says_of_a_silent_gateway_what_it_says_of_one_that_is_gone() -> None:
    silent = from_gateway(RequestError(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"))
    assert (silent.status, silent.message.partition(":")[0]) == (504, "the gateway does not answer")
