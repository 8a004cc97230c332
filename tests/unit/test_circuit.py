"""The circuit before an API: whose failures pause whom, and who tries again."""

from __future__ import annotations

import pytest

from services.models.engine.api import ApiUnavailable, QueueFull
from services.models.engine.remote.circuit import Circuit, Passage

NOISY, QUIET = "noisy", "quiet"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def circuit(clock: Clock) -> Circuit:
    return Circuit(clock, lambda: 0.0)


def fail(one: Circuit, *callers: str, was_reached: bool = True) -> None:
    """A request of each caller, one after the other."""
    for caller in callers:
        one.failed(one.enter(caller), was_reached=was_reached)


def is_paused(one: Circuit, caller: str) -> bool:
    try:
        one.left(one.enter(caller))
    except ApiUnavailable:
        return True
    return False


def test_five_failures_open_the_circuit_and_one_request_then_tries() -> None:
    clock = Clock()
    one = circuit(clock)
    fail(one, *[""] * 5)
    with pytest.raises(ApiUnavailable, match="failed 5 times in a row") as refused:
        one.enter("")
    assert refused.value.retry_after_s == 1.0
    clock.now = 1.5
    trying = one.enter("")
    assert is_paused(one, "")  # only one tries
    one.failed(trying, was_reached=True)
    clock.now = 3.0
    assert is_paused(one, "")  # the pause has doubled
    clock.now = 3.6
    one.succeeded(one.enter(""))
    assert not is_paused(one, "")


@pytest.mark.parametrize("was_reached", [True, False])
def test_many_failures_at_once_are_one_pause(was_reached: bool) -> None:
    clock = Clock()
    one = circuit(clock)
    for passage in [one.enter("") for _ in range(16)]:
        one.failed(passage, was_reached=was_reached)
    clock.now = 1.0
    assert not is_paused(one, "")


def test_the_end_of_another_request_lets_no_second_one_try() -> None:
    clock = Clock()
    one = circuit(clock)
    earlier = one.enter("")
    fail(one, *[""] * 5)
    clock.now = 1.0
    one.enter("")
    one.left(earlier)
    assert is_paused(one, "")


def test_what_follows_the_requests_of_one_caller_pauses_no_other() -> None:
    one = circuit(Clock())
    fail(one, *[NOISY] * 5)
    with pytest.raises(ApiUnavailable, match="with this caller's requests"):
        one.enter(NOISY)
    assert not is_paused(one, QUIET)


def test_one_caller_among_those_that_fail_counts_once() -> None:
    one = circuit(Clock())
    fail(one, *"aaaa", *"bbbb", *"cccc", *"dddd")
    assert not is_paused(one, QUIET)
    fail(one, "e")
    assert is_paused(one, QUIET)


def test_a_success_of_any_caller_ends_what_several_have_failed_in() -> None:
    one = circuit(Clock())
    fail(one, *"abcd")
    one.succeeded(one.enter(QUIET))
    fail(one, *"abcd")
    assert not is_paused(one, QUIET)


def test_the_success_of_another_does_not_end_a_callers_own_pause() -> None:
    one = circuit(Clock())
    fail(one, *[NOISY] * 5)
    one.succeeded(one.enter(QUIET))
    assert is_paused(one, NOISY)


def test_connections_that_fail_pause_all() -> None:
    one = circuit(Clock())
    fail(one, *[NOISY] * 5, was_reached=False)
    assert is_paused(one, QUIET)


def test_an_endpoint_that_was_reached_again_is_left_to_whoever_its_failure_follows() -> None:
    clock = Clock()
    one = circuit(clock)
    fail(one, *[NOISY] * 5, was_reached=False)
    clock.now = 1.0
    fail(one, NOISY)
    assert not is_paused(one, QUIET)


def test_a_caller_whose_requests_did_not_fail_is_the_first_to_try() -> None:
    clock = Clock()
    one = circuit(clock)
    fail(one, *"abcde")
    clock.now = 1.0
    assert is_paused(one, "a")
    assert is_paused(one, "e")
    one.succeeded(one.enter(QUIET))
    assert not is_paused(one, "a")


def test_one_whose_requests_failed_tries_where_no_other_does() -> None:
    clock = Clock()
    one = circuit(clock)
    fail(one, *"abcde")
    clock.now = 2.0
    fail(one, "a")
    clock.now = 4.0
    assert is_paused(one, "a")
    one.succeeded(one.enter(QUIET))


def test_the_failures_of_many_callers_take_a_bounded_memory() -> None:
    one = circuit(Clock())
    for number in range(5000):
        one.failed(Passage(str(number)), was_reached=True)
    assert len(one._own) == 1024
    assert one._failing <= one._own.keys()


def test_nobody_asks_before_the_time_that_an_api_has_named() -> None:
    clock = Clock()
    one = circuit(clock)
    one.enter(NOISY)
    assert one.limited(7.0) == 7.0
    for caller in (NOISY, QUIET):
        with pytest.raises(QueueFull) as refused:
            one.enter(caller)
        assert refused.value.retry_after_s == 7.0
    clock.now = 7.0
    one.enter(QUIET)


def test_a_limit_without_a_time_stops_no_other_request() -> None:
    one = circuit(Clock())
    assert one.limited(None) == 1.0
    one.enter("")
