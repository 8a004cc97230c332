from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2

from services.engine.api import DuplicateRequest, EngineStopped, PromptTooLong, QueueFull
from services.process.status import STATUS_OF, from_engine, to_status
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


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (PromptTooLong("x"), grpc.StatusCode.INVALID_ARGUMENT),
        (QueueFull("x"), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (DuplicateRequest("x"), grpc.StatusCode.FAILED_PRECONDITION),
        (EngineStopped("x"), grpc.StatusCode.UNAVAILABLE),
    ],
)
def test_every_refusal_of_an_engine_has_a_status(error: Exception, status: grpc.StatusCode) -> None:
    known = from_engine(error)
    assert known is not None
    assert STATUS_OF[type(known)] is status
    assert from_engine(ValueError("x")) is None
