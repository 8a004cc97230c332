"""What requests have cost, summed over what the gateway lists of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tandem.client.clients import Client
from tandem.method.names import sampled_id, shadow_id
from tandem.v1 import tandem_pb2

_PAGE = 1000
_BESIDE = (shadow_id(""), sampled_id(""))
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(slots=True)
class Sum:
    """`open`: requests that have no bill: they run, or ended without one. `saved`: USD less than the large model alone,
    of those that say it. `shadows`: USD paid beside requests, for shadows and for what a promise learns from,
    which `usd` has not. `last`: when the newest request began; None where there are only such.
    """

    requests: int = 0
    open: int = 0
    usd: float = 0.0
    saved: float = 0.0
    shadows: float = 0.0
    last: datetime | None = None


def _day(request: tandem_pb2.RequestSummary) -> str:
    return _began(request).strftime("%Y-%m-%d")


GROUPS: dict[str, Callable[[tandem_pb2.RequestSummary], str]] = {
    "tenant": lambda request: request.tenant,
    "profile": lambda request: request.profile,
    "day": _day,
    "month": lambda request: _day(request)[:7],
    "session": lambda request: request.session,
}


def spending(client: Client, since: datetime, by: Sequence[str]) -> dict[tuple[str, ...], Sum]:
    """Sums of the requests that began at `since` or later, by `by` of GROUPS, in order. Days are UTC. Raises
    RequestError.
    """
    sums: dict[tuple[str, ...], Sum] = {}

    def sum_of(request: tandem_pb2.RequestSummary) -> Sum:
        return sums.setdefault(tuple(GROUPS[name](request) for name in by), Sum())

    for request in listed(client, since):
        found = sum_of(request)
        found.requests += 1
        found.last = max(found.last or _began(request), _began(request))
        if request.HasField("usd"):
            alone = usd_alone(request)
            found.usd += request.usd
            found.saved += alone - request.usd
        else:
            found.open += 1
    for request in listed(client, since, shadows=True):
        if request.request_id.endswith(_BESIDE):  # a gateway of an earlier version lists requests
            sum_of(request).shadows += request.usd
    return dict(sorted(sums.items()))


def first_day(since: datetime | None) -> datetime:
    """In UTC; default: the first of the month."""
    first = since or datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return first.replace(tzinfo=UTC)


def usd_alone(request: tandem_pb2.RequestSummary) -> float:
    """USD of the large model alone; where nothing says what that is, of the request itself."""
    is_known = request.HasField("saved_ratio") and request.saved_ratio < 1
    return request.usd / (1 - request.saved_ratio) if is_known else request.usd


def listed(client: Client, since: datetime, *, shadows: bool = False) -> Iterator[tandem_pb2.RequestSummary]:
    """Those that began at `since` or later, newest first."""
    # In pages: a page begins at the moment of the last one's oldest, whose requests are seen twice.
    seen: set[str] = set()
    where = f'started >= "{since.isoformat()}"'
    until = ""
    while True:
        page = [r for r in client.list(where + until, _PAGE, shadows).requests if r.request_id not in seen]
        yield from page
        if not page:
            return
        seen |= {request.request_id for request in page}
        until = f' and started <= "{(_began(page[-1]) + _MILLISECOND).isoformat(timespec="milliseconds")}"'


def _began(request: tandem_pb2.RequestSummary) -> datetime:
    return datetime.fromtimestamp(request.started_at_unix_ms / 1000, UTC)
