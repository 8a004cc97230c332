from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from temporalio.exceptions import ApplicationError

from services.gateway.outcomes import is_refusal
from services.gateway.temporal import failure_of
from services.http_gateway.errors import from_gateway
from services.http_gateway.failures import reply_of
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
from services.models.engine.remote.events import failed
from services.models.engine.remote.refusals import ErrorReply, explain, withheld
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


def told(status: int, message: str = "no", code: str = "", wait: float | None = None) -> RequestError:
    """What the HTTP gateway gets of a request whose large model's API refused so."""
    headers = {} if wait is None else {"retry-after-ms": str(1000 * wait)}
    body = json.dumps({"error": {"message": message, "code": code}}).encode()
    explained = explain(ErrorReply(status, headers, body), OSError)
    known = explained and from_engine(explained)
    assert known is not None
    again = timedelta(seconds=known.retry_after_s) if getattr(known, "retry_after_s", None) else None
    reason = known.reason if known.reason in errors.NOT_AGAIN else errors.LLM_UNAVAILABLE
    cause = ApplicationError(str(known), {}, errors.vendor_in(known.metadata), type=reason, next_retry_delay=again)
    failed = failure_of(cause)
    after = failed.retry_after_s if isinstance(failed, ResourceExhausted | errors.Unavailable) else None
    code_of_grpc = STATUS_OF[type(failed)]
    return RequestError(code_of_grpc, str(failed), failed.reason, retry_after_s=after, metadata=failed.metadata)


INVALID, PERMISSION, LIMITED = "invalid_request_error", "permission_error", "rate_limit_error"


@pytest.mark.parametrize(
    ("status", "wait", "grpc_code", "http", "kind", "anthropics"),
    [
        (400, None, "FAILED_PRECONDITION", 400, INVALID, INVALID),
        (401, None, "FAILED_PRECONDITION", 401, "authentication_error", "authentication_error"),
        (402, None, "FAILED_PRECONDITION", 402, INVALID, INVALID),
        (403, None, "FAILED_PRECONDITION", 403, PERMISSION, PERMISSION),
        (404, None, "FAILED_PRECONDITION", 404, INVALID, "not_found_error"),
        (413, None, "FAILED_PRECONDITION", 413, INVALID, "request_too_large"),
        (422, None, "FAILED_PRECONDITION", 422, INVALID, INVALID),
        (429, None, "RESOURCE_EXHAUSTED", 429, LIMITED, LIMITED),
        (429, 30.0, "RESOURCE_EXHAUSTED", 429, LIMITED, LIMITED),
        (500, None, "UNAVAILABLE", 500, "api_error", "api_error"),
        (503, 7.0, "UNAVAILABLE", 503, "api_error", "overloaded_error"),
        (529, None, "UNAVAILABLE", 529, "api_error", "overloaded_error"),
        (599, None, "UNAVAILABLE", 503, "api_error", "overloaded_error"),
    ],
)
def test_a_vendors_status_and_words_reach_a_caller_by_grpc_and_by_each_protocol(
    status: int, wait: float | None, grpc_code: str, http: int, kind: str, anthropics: str
) -> None:
    """529 is Anthropic's own; elsewhere it is 503."""
    error = told(status, "no such luck", wait=wait)
    assert (error.code.name, error.metadata["vendor_status"]) == (grpc_code, str(status))
    for path, expected in (("/v1/chat/completions", kind), ("/v1/responses", kind), ("/v1/messages", anthropics)):
        reply = reply_of(from_gateway(error), path)
        shown = json.loads(bytes(reply.body))["error"]
        assert reply.status_code == (503 if http == 529 and path != "/v1/messages" else http)
        assert (shown["type"], "no such luck" in shown["message"]) == (expected, True), path
        assert reply.headers.get("retry-after") == (None if wait is None else f"{wait:.0f}")


def test_an_account_without_means_is_not_worth_a_repeat_and_a_limit_is() -> None:
    spent, limited = from_gateway(told(429, code="insufficient_quota")), from_gateway(told(429, code="other"))
    assert (spent.status, spent.code, spent.headers["x-should-retry"]) == (429, "insufficient_quota", "false")
    assert (limited.code, "x-should-retry" in limited.headers) == ("llm_unavailable", False)


def test_a_failed_model_is_no_refusal_of_the_caller() -> None:
    assert not is_refusal(errors.FailedPrecondition("a key", reason=errors.LLM_UNAVAILABLE, vendor_status="401"))
    assert is_refusal(errors.FailedPrecondition("too long", reason="PROMPT_TOO_LONG", vendor_status="400"))


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("Incorrect API key provided: my-own-key-1234.", "Incorrect API key provided: …."),
        ("Received API Key = sk-...UXTg, Key Hash", "Received API Key = …, Key Hash"),
        ("no model at http://10.0.0.7:8000/v1 (10.0.0.7:8000)", "no model at … (…)"),
        ("prompt is too long: 210000 tokens", "prompt is too long: 210000 tokens"),
    ],
)
def test_an_apis_words_reach_callers_without_key_and_address(said: str, left: str) -> None:
    assert withheld(said, "my-own-key-1234", "http://10.0.0.7:8000/v1") == left
    assert withheld(said, "none", "") == left or "my-own" in said or "10.0.0.7" in said


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"type": "overloaded_error", "message": "Overloaded"}, "529"),
        ({"type": "server_error", "code": None}, "500"),
        ({"code": "rate_limit_exceeded", "message": "slow"}, "429"),
        ({"code": 400, "message": "strange"}, ""),
        ("just words", ""),
    ],
)
def test_an_error_within_a_stream_has_the_status_that_it_would_have_had_before(error: Any, status: str) -> None:
    assert failed(error).vendor.get("vendor_status", "") == status
