"""How often an answer is tried again."""

from __future__ import annotations

import grpc
import pytest

from workflows.retries import gives_up, retry_answer


@pytest.mark.parametrize(("away", "attempts"), [(0.1, 2), (7, 6), (7.75, 6), (8, 7), (120, 35)])
def test_a_model_that_is_away_is_waited_for_at_least_so_long(away: float, attempts: int) -> None:
    assert retry_answer(away).maximum_attempts == attempts


def test_one_that_fails_is_tried_six_times_however_long_one_that_is_away_is_waited_for() -> None:
    assert [gives_up(grpc.StatusCode.INTERNAL, attempt) for attempt in (1, 5, 6)] == [False, False, True]
    assert not gives_up(grpc.StatusCode.UNAVAILABLE, 30)
    assert not gives_up(grpc.StatusCode.RESOURCE_EXHAUSTED, 30)
