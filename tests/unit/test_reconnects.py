"""A client follows its request over lost connections until the gateway has been away for a minute."""

from __future__ import annotations

import grpc
import pytest

from tandem.client import clients
from tandem.client.clients import _Progress
from tandem.errors import SERVER_ENDS, RequestError
from tandem.v1 import tandem_pb2

LOST = RequestError(grpc.StatusCode.UNAVAILABLE, "connection refused")


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(clients, "time", clock)  # the clock alone
    return clock


def begun() -> _Progress:
    progress = _Progress(tandem_pb2.SolveRequest(question="q"))
    accepted = tandem_pb2.Accepted(request_id="r")
    assert progress.is_new(tandem_pb2.SolveEvent(cursor="0", accepted=accepted))
    return progress


def test_it_waits_a_minute_for_the_gateway(clock: Clock) -> None:
    progress = begun()
    assert progress.may_reconnect(LOST)
    clock.now += 59
    assert progress.may_reconnect(LOST)
    clock.now += 2
    assert not progress.may_reconnect(LOST)


def test_a_gateway_that_starts_again_is_waited_for_as_one_that_is_gone(clock: Clock) -> None:
    assert begun().may_reconnect(RequestError(grpc.StatusCode.UNAVAILABLE, "still loading", reason="LOADING"))


def test_news_begin_the_minute_anew(clock: Clock) -> None:
    progress = begun()
    for number in range(100):
        clock.now += 59
        assert progress.may_reconnect(LOST)
        progress.is_new(tandem_pb2.SolveEvent(cursor=str(number)))


def test_a_repeated_accepted_is_no_news_to_the_caller(clock: Clock) -> None:
    progress = begun()
    assert progress.may_reconnect(LOST)
    accepted = tandem_pb2.Accepted(request_id="r")
    assert not progress.is_new(tandem_pb2.SolveEvent(cursor="0", accepted=accepted))


def test_a_request_that_has_not_begun_is_not_asked_again(clock: Clock) -> None:
    assert not _Progress(tandem_pb2.SolveRequest(question="q")).may_reconnect(LOST)


def test_a_request_whose_gateway_ends_before_it_has_begun_is_asked_again_under_its_id(clock: Clock) -> None:
    ends = RequestError(grpc.StatusCode.UNAVAILABLE, "it ends", reason=SERVER_ENDS)
    progress = _Progress(tandem_pb2.SolveRequest(question="q", request_id="r"))
    assert progress.may_reconnect(ends)
    assert progress.may_reconnect(LOST)  # while the next one starts
    accepted = tandem_pb2.SolveEvent(cursor="0", accepted=tandem_pb2.Accepted(request_id="r"))
    assert progress.is_new(accepted)  # to the caller, who has seen none
    assert not _Progress(tandem_pb2.SolveRequest(question="q")).may_reconnect(ends)  # it would be a second one


def test_an_error_of_the_request_is_no_lost_connection(clock: Clock) -> None:
    refusal = RequestError(grpc.StatusCode.UNAVAILABLE, "full", reason="REQUEST_LOG_UNAVAILABLE")
    assert not begun().may_reconnect(refusal)
