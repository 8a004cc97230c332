"""The campaign's oracle tells a leak from what pools keep, however many requests there are at once."""

from __future__ import annotations

import socket

import psutil
import pytest

from tests.e2e.chaos.remains import Held, growth

_USUAL = {"gateway": Held(1, 38, 30, 45), "worker": Held(2, 33, 51, 33), "redis": Held(3, 10, 5, 150)}


def _grown(name: str, *, fds: int = 0, threads: int = 0, connections: int = 0, num_requests: int = 60) -> list[str]:
    usual = _USUAL[name]
    now = Held(usual.pid, usual.fds + fds, usual.threads + threads, usual.connections + connections)
    return list(growth(name, now, usual, num_requests))


@pytest.mark.parametrize(("name", "connections"), [("gateway", 107), ("worker", 120), ("redis", 246)])
def test_connections_that_pools_keep_after_sixty_requests_at_once_are_no_leak(name: str, connections: int) -> None:
    assert not _grown(name, connections=connections)


@pytest.mark.parametrize("num_requests", [1, 5, 60, 500])
def test_a_connection_left_by_each_request_is_a_leak_after_some_rounds(num_requests: int) -> None:
    rounds = [number for number in range(1, 50) if _grown("worker", connections=number * num_requests,
                                                          num_requests=num_requests)]  # fmt: skip
    assert rounds, "fifty rounds that leave a connection each are not seen"


@pytest.mark.parametrize("num_requests", [1, 60, 500])
def test_descriptors_other_than_connections_are_a_leak_at_any_size(num_requests: int) -> None:
    [told] = _grown("gateway", fds=41, num_requests=num_requests)
    assert told == "gateway has 79 descriptors besides its connections, 38 as a rule"
    assert not _grown("gateway", fds=40, num_requests=num_requests)


def test_threads_are_a_leak_at_any_size() -> None:
    assert not _grown("worker", threads=24)
    assert _grown("worker", threads=25)


def test_a_connection_whose_other_end_has_closed_counts_as_no_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        mine = {each.fd: each.status for each in psutil.Process().connections("tcp")}
        assert mine[accepted.fileno()] == psutil.CONN_ESTABLISHED
        client.close()
        while accepted.recv(1):
            pass
        mine = {each.fd: each.status for each in psutil.Process().connections("tcp")}
        assert mine[accepted.fileno()] == psutil.CONN_CLOSE_WAIT
        accepted.close()
