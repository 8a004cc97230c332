"""How often an answer is tried again."""

from __future__ import annotations

import grpc
import pytest

from workflows.activities.attempts import is_last_attempt, unavailable_retry_policy


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
