"""The request log: everything that processes share about a request while it runs, in Redis.

`{id}:insight` and `{id}:answer` hold deltas, stage ends, restarts and the end; `{id}:stages` the insight's entries
without the deltas between stage ends; `{id}:decisions` what the worker decided; `{id}:state` epochs, stop flag and
ledger; `{id}:passes` the tokens of each pass that only read; `{id}:stops` the stops as their writers hear them;
`{id}:watchers` the leases of readers; `{id}:bodies` what the caller sent, where that is passed on. All keys of a
request share a hash tag, and so one node of a cluster, and expire.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from services.shared.request_log.accounts import Accounts
from services.shared.request_log.bodies import Bodies
from services.shared.request_log.connection import BODIES, PASSES, STAGES, Connection, Role, key, translated_errors
from services.shared.request_log.decisions import Decisions
from services.shared.request_log.disputes import Disputes
from services.shared.request_log.learned import Learned
from services.shared.request_log.ledger import Ledger
from services.shared.request_log.promises import Promises
from services.shared.request_log.sealed_text import SealedText
from services.shared.request_log.servers import Access
from services.shared.request_log.sessions import Sessions
from services.shared.request_log.stops import StopFlags
from services.shared.request_log.streams import Streams

if TYPE_CHECKING:  # the library is loaded where there are keys
    from services.shared.sealing.sealer import Sealer

_KEPT = (*Role, STAGES, PASSES, BODIES, "decisions", "state", "stops")
_NAMES = (*_KEPT, "watchers")
_FINISHED_TTL = timedelta(minutes=5)


class RequestLog:
    """All access to Redis. Every call raises Unavailable when Redis does not answer. `sealer` encrypts the text; None:
    nothing is.
    """

    def __init__(self, url: str, ttl: timedelta, access: Access | None = None, sealer: Sealer | None = None) -> None:
        self._connection = Connection(url, ttl, access)
        sealed = SealedText(sealer)
        self.streams = Streams(self._connection, sealed)
        self.ledger = Ledger(self._connection)
        self.stops = StopFlags(self._connection)
        self.decisions = Decisions(self._connection, sealed)
        self.bodies = Bodies(self._connection, sealed)
        self.watchers = Watchers(self._connection)
        self.accounts = Accounts(self._connection)
        self.sessions = Sessions(self._connection)
        self.promises = Promises(self._connection)
        self.learned = Learned(self._connection)
        self.disputes = Disputes(self._connection, sealed)

    async def close(self) -> None:
        await self._connection.close()

    async def ping(self) -> None:
        """Not PING, which a cluster's client sends to every node, also to a dead one."""
        with translated_errors():
            await self._connection.redis.exists(key("ping", "state"))

    async def forget(self, request_id: str) -> None:
        """Delete all keys of a request that has ended."""
        with translated_errors():
            await self._connection.redis.delete(*(key(request_id, name) for name in _NAMES))

    async def expire_soon(self, request_id: str) -> None:
        """The request has ended: its keys stay for a few minutes, for a client that comes back."""
        with translated_errors():
            async with self._connection.pipeline(request_id) as pipe:
                for name in _KEPT:
                    pipe.pexpire(key(request_id, name), int(_FINISHED_TTL.total_seconds() * 1000))
                await pipe.execute()


class Watchers:
    """Who reads a request: leases, so that a request without readers can be cancelled. Also the workers of one version
    know of each other by these leases; `name` is then the version's.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def renew(self, name: str, watcher: str, now: float, lease: timedelta) -> None:
        """`watcher` reads this request until `now` + `lease`, Unix seconds."""
        leases = key(name, "watchers")
        with translated_errors():
            async with self._connection.pipeline(name) as pipe:
                pipe.zadd(leases, {watcher: now + lease.total_seconds()}).pexpire(leases, self._connection.ttl_ms)
                await pipe.execute()

    async def remove(self, name: str, watcher: str) -> None:
        with translated_errors():
            await self._connection.redis.zrem(key(name, "watchers"), watcher)

    async def exist(self, name: str, now: float) -> bool:
        with translated_errors():
            return bool(await self._connection.redis.zcount(key(name, "watchers"), now, "+inf"))
