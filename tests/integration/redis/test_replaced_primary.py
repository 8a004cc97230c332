"""A process that only ever publishes finds the node that has taken a dead primary's place: redis-py's pipelines alone
would not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from services.shared.request_log.connection import Role
from services.shared.request_log.decisions import scored_slot
from services.shared.request_log.ledger import Pass
from services.shared.request_log.log import RequestLog
from services.shared.request_log.stops import StopSignal
from tandem.method.errors import Unavailable
from tandem.method.request.events import Scored
from tandem.method.tokens import TokenCounts
from tests.conftest import wait_until
from tests.integration.redis.servers import SLOTS, RedisNodes, run_cluster

pytestmark = pytest.mark.asyncio(loop_scope="session")
LEASE = timedelta(minutes=1)
SCORED = Scored(0, 0.5, 0.5, True, "mlp", True)
PUBLISHING: dict[str, Callable[[RequestLog, str], Awaitable[object]]] = {
    "a stop": lambda log, name: log.stops.publish(StopSignal(name, Role.INSIGHT, 1, 1.0)),
    "a decision": lambda log, name: log.decisions.publish(name, scored_slot(0), SCORED),
    "a pass": lambda log, name: log.ledger.add_pass(name, Pass.SCORER, "0", TokenCounts(1)),
    "a lease": lambda log, name: log.watchers.renew(name, "reader", 1.0, LEASE),
    "the end": lambda log, name: log.expire_soon(name),
}


async def test_what_is_published_reaches_the_new_primary(tmp_path: Path) -> None:
    with run_cluster(tmp_path) as nodes:
        logs = {what: RequestLog(nodes.url, LEASE) for what in PUBLISHING}
        for what, publish in PUBLISHING.items():
            await publish(logs[what], _of_the_first_primary(nodes))
        nodes.kill(nodes.data[0])
        wait_until(lambda: not any(_names_the_first(nodes, port) for port in nodes.data[1:]))
        assert [what for what in PUBLISHING if not await _is_published_soon(nodes, logs[what], what)] == []
        for log in logs.values():
            await log.close()


async def _is_published_soon(nodes: RedisNodes, log: RequestLog, what: str) -> bool:
    """At the second attempt: the first tells of the dead primary."""
    name = _of_the_first_primary(nodes)
    for _ in range(2):
        with suppress(Unavailable):
            await PUBLISHING[what](log, name)
            return True
    return False


def _of_the_first_primary(nodes: RedisNodes) -> str:
    """A new request of it, which has the lowest slots."""
    names = iter(lambda: uuid4().hex, "")
    return next(name for name in names if nodes.call(nodes.data[1], "CLUSTER", "KEYSLOT", name) < SLOTS // 3)


def _names_the_first(nodes: RedisNodes, port: int) -> bool:
    """Whether this node takes the first one for the primary of its slots."""
    first, *_ = sorted(nodes.call(port, "CLUSTER", "SLOTS"))
    return bool(first[2][1] == nodes.data[0])
