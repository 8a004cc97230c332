"""How often an answer is tried again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata
from temporalio.testing import ActivityEnvironment

from services.shared.process.status import to_status
from tandem.method.errors import ResourceExhausted
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


def limited(seconds: float) -> AioRpcError:
    """An API asks for a pause."""
    status = to_status(ResourceExhausted("limited", reason="QUEUE_FULL", retry_after_s=seconds))
    trailing = Metadata(("grpc-status-details-bin", status.SerializeToString()))
    return AioRpcError(grpc.StatusCode.RESOURCE_EXHAUSTED, Metadata(), trailing, "limited")


@pytest.mark.parametrize(("seconds", "is_final"), [(2.0, False), (75.0, False), (91.0, True), (3600.0, True)])
def test_a_pause_that_is_longer_than_a_caller_is_held_ends_the_attempts_and_is_told(
    seconds: float, is_final: bool
) -> None:
    error = application_error(limited(seconds), None)
    assert error.non_retryable is is_final
    assert error.next_retry_delay is not None
    assert error.next_retry_delay.total_seconds() == seconds


@pytest.mark.parametrize(
    ("since", "pause", "is_final"),
    [(0.0, 60.0, False), (110.0, 60.0, False), (130.0, 60.0, True), (170.0, 5.0, False), (600.0, 0.5, False)],
)
def test_pauses_that_are_short_and_many_hold_a_caller_no_longer_than_three_minutes(
    since: float, pause: float, is_final: bool
) -> None:
    """`since` the first attempt was scheduled. A full queue of ours, which says less than a second, is waited for as it
    was.
    """
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, scheduled_time=datetime.now(UTC) - timedelta(seconds=since))
    error = environment.run(application_error, limited(pause), None)
    assert error.non_retryable is is_final
