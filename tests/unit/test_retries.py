"""How often an answer is tried again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from services.models.engine.api import ApiUnavailable, EngineError, QueueFull
from services.models.engine.remote.refusals import ErrorReply, explain
from services.shared.process.status import STATUS_OF, from_engine, to_status
from workflows.activities.attempts import application_error, is_last_attempt, unavailable_retry_policy


@pytest.mark.parametrize(("away", "attempts"), [(0.1, 2), (7, 6), (7.75, 6), (8, 7), (120, 35)])
def test_a_model_that_is_away_is_waited_for_at_least_so_long(away: float, attempts: int) -> None:
    assert unavailable_retry_policy(away).maximum_attempts == attempts


def test_one_that_fails_is_tried_six_times_however_long_one_that_is_away_is_waited_for() -> None:
    internal = [is_last_attempt(attempt, grpc.StatusCode.INTERNAL, began=False) for attempt in (1, 5, 6)]
    assert internal == [False, False, True]
    assert not is_last_attempt(30, grpc.StatusCode.UNAVAILABLE, began=False)
    assert not is_last_attempt(30, grpc.StatusCode.RESOURCE_EXHAUSTED, began=False)


def test_work_that_ends_its_process_each_time_is_begun_six_times_at_most() -> None:
    killed = [is_last_attempt(attempt, grpc.StatusCode.UNAVAILABLE, began=True) for attempt in (1, 5, 6)]
    assert killed == [False, False, True]


def limited(seconds: float | None, **vendor: int) -> AioRpcError:
    """An API asks for a pause."""
    return raised(QueueFull("limited", seconds, **vendor))


def raised(error: EngineError) -> AioRpcError:
    """What a worker gets of an engine's error."""
    known = from_engine(error)
    assert known is not None
    trailing = Metadata(("grpc-status-details-bin", to_status(known).SerializeToString()))
    return AioRpcError(STATUS_OF[type(known)], Metadata(), trailing, str(error))


def at_attempt(number: int, error: AioRpcError, **options: bool) -> ApplicationError:
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, attempt=number, scheduled_time=datetime.now(UTC))
    found: ApplicationError = environment.run(partial(application_error, error, None, **options))
    return found


@pytest.mark.parametrize(("seconds", "is_final"), [(1.5, False), (2.0, False), (2.5, True), (3600.0, True)])
def test_a_pause_that_is_longer_than_a_caller_is_held_ends_the_attempts_and_is_told(
    seconds: float, is_final: bool
) -> None:
    error = application_error(limited(seconds), None)
    assert error.non_retryable is is_final
    assert error.next_retry_delay is not None
    assert error.next_retry_delay.total_seconds() == seconds


@pytest.mark.parametrize(
    ("since", "pause", "is_final"),
    [(0, 75, False), (0, 91, True), (110, 60, False), (130, 60, True), (170, 5, False), (600, 0.5, False)],
)
def test_a_request_that_nobody_waits_for_keeps_an_apis_pauses_for_three_minutes(
    since: float, pause: float, is_final: bool
) -> None:
    """`since` the first attempt was scheduled. A full queue of ours, which says less than a second, is waited for as it
    was.
    """
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, scheduled_time=datetime.now(UTC) - timedelta(seconds=since))
    error = environment.run(partial(application_error, limited(pause), None, is_unattended=True))
    assert error.non_retryable is is_final


@pytest.mark.parametrize(
    ("status", "pause", "attempts"),
    [
        *((status, None, 1) for status in (400, 401, 403, 404, 413, 418, 429)),
        *((status, None, 2) for status in (408, 500, 503, 529)),
        (429, 0.3, 2),
        (429, 30.0, 1),
        (503, 1.0, 2),
    ],
)
def test_an_apis_refusal_is_tried_again_once_where_that_may_help_within_two_seconds(
    status: int, pause: float | None, attempts: int
) -> None:
    headers = {} if pause is None else {"retry-after-ms": str(1000 * pause)}
    reply = ErrorReply(status, headers, b'{"error": {"message": "no"}}')
    explained = explain(reply, OSError)
    assert explained is not None
    ends = [at_attempt(number, raised(explained)).non_retryable for number in (1, 2)]
    assert ends == [attempts == 1, True]
    assert at_attempt(1, raised(explained)).details[1] == {"vendor_status": str(status)}


def test_a_connection_that_an_api_does_not_take_is_made_four_times() -> None:
    lost = raised(ApiUnavailable("the API does not answer"))
    assert [at_attempt(number, lost).non_retryable for number in (1, 3, 4)] == [False, False, True]
    assert not at_attempt(4, lost, is_unattended=True).non_retryable


def test_the_address_of_a_process_that_is_away_is_told_to_no_caller() -> None:
    away = AioRpcError(grpc.StatusCode.UNAVAILABLE, Metadata(), Metadata(), "failed to connect to 10.0.0.7:50051")
    assert "10.0.0.7" not in str(application_error(away, None))
