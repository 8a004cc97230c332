"""`tandem spend` sums up what a gateway lists: bills, and what was paid beside them; in an order, so many rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest

from tandem.v1 import tandem_pb2, tandem_pb2_grpc
from tests.command import tandem

_AT = datetime(2026, 11, 3, 12, tzinfo=UTC).timestamp() * 1000
_HOUR = 3_600_000


def row(name: str, session: str, usd: float | None, hour: int, **more: Any) -> tandem_pb2.RequestSummary:
    at = _AT + hour * _HOUR
    return tandem_pb2.RequestSummary(
        request_id=name, session=session, tenant="acme", usd=usd, started_at_unix_ms=at, **more
    )


REQUESTS = [row("a1", "a", 0.5, 0), row("a2", "a", 0.25, 3), row("b1", "b", 2.0, 1), row("c1", "c", 0.125, 2)]
SHADOWS = [row("a1~shadow", "a", 0.0625, 4), row("c1~shadow", "c", 4.0, 4), row("b1~shadow", "b", None, 4)]
LEARNED = [row("b1~beside", "b", 0.5, 4)]


class Gateway(tandem_pb2_grpc.TandemServiceServicer):
    """`knows_shadows`: false as of a gateway before them, which passes over what it does not know."""

    def __init__(self, knows_shadows: bool) -> None:
        self._knows_shadows = knows_shadows

    def ListRequests(
        self, request: tandem_pb2.ListRequestsRequest, context: grpc.ServicerContext
    ) -> tandem_pb2.ListRequestsResponse:
        shadows = request.shadows and self._knows_shadows
        return tandem_pb2.ListRequestsResponse(requests=[*SHADOWS, *LEARNED] if shadows else REQUESTS)


@contextmanager
def gateway(*, knows_shadows: bool = True) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(2))
    tandem_pb2_grpc.add_TandemServiceServicer_to_server(Gateway(knows_shadows), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def spent(*words: str, **options: bool) -> list[dict[str, Any]]:
    with gateway(**options) as address:
        done = tandem("spend", *words, "--json", TANDEM_ADDRESS=address)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_what_was_paid_beside_requests_stands_beside_their_bills() -> None:
    [whole] = spent("--by", "tenant")
    assert (whole["requests"], whole["usd"], whole["shadows"]) == (4, 2.875, 4.5625)
    assert {each["session"]: each["shadows"] for each in spent("--by", "session")} == {"a": 0.0625, "b": 0.5, "c": 4.0}


def test_a_gateway_that_knows_no_shadows_has_none_summed_up_twice() -> None:
    [whole] = spent("--by", "tenant", knows_shadows=False)
    assert (whole["usd"], whole["shadows"]) == (2.875, 0)


@pytest.mark.parametrize(
    ("words", "sessions"),
    [
        ((), ["a", "c", "b"]),  # of sessions the newest first
        (("--order", "usd"), ["c", "b", "a"]),  # with what was paid beside them
        (("--order", "name"), ["a", "b", "c"]),
        (("--order", "usd", "--limit", "2"), ["c", "b"]),
    ],
)
def test_sessions_have_an_order_and_a_limit(words: tuple[str, ...], sessions: list[str]) -> None:
    assert [each["session"] for each in spent("--by", "session", *words)] == sessions


def test_a_session_has_its_last_time_and_rows_beyond_the_limit_are_counted() -> None:
    assert [each["last_unix_ms"] - _AT for each in spent("--by", "session")] == [3 * _HOUR, 2 * _HOUR, _HOUR]
    with gateway() as address:
        done = tandem("spend", "--by", "session", "--limit", "1", TANDEM_ADDRESS=address)
    assert "2026-11-03 15:00" in done.stdout
    assert "2 more rows" in done.stdout


def test_days_keep_their_order_by_name_and_an_unknown_order_is_refused() -> None:
    assert [each["day"] for each in spent("--by", "day")] == ["2026-11-03"]
    with gateway() as address:
        refused = tandem("spend", "--order", "cheapest", TANDEM_ADDRESS=address)
    assert refused.returncode == 2
    assert "'cheapest' is none of name, newest, usd" in " ".join(refused.stderr.replace("│", " ").split())
