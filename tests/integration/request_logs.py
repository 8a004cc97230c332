"""The request log as each process opens it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path

from services.shared.request_log.log import RequestLog
from services.shared.sealing.sealer import Sealer
from tandem.access.redis_users import USERS
from tests.conftest import run_redis

Logs = Mapping[str, RequestLog]
"""By process."""


def request_logs(redis: str | Logs, ttl: timedelta) -> Logs:
    """One for each process, at a URL that asks nobody who it is; or those that a test has opened."""
    return sealed_logs(redis, ttl, None) if isinstance(redis, str) else redis


def sealed_logs(url: str, ttl: timedelta, keys: Sealer | None, others: Mapping[str, Sealer | None] = {}) -> Logs:
    """One for each process, which encrypts with `keys`, or with its own of `others`."""
    return {u.process: RequestLog(url, ttl, sealer=others.get(u.process, keys)) for u in USERS}


@contextlib.asynccontextmanager
async def open_log(url: str, keys: Sealer | None = None) -> AsyncIterator[RequestLog]:
    """The log of a test that runs no processes, for longer than the test lasts."""
    log = RequestLog(url, timedelta(hours=2), sealer=keys)
    yield log
    await log.close()


@contextlib.asynccontextmanager
async def log_of_its_own(folder: Path) -> AsyncIterator[RequestLog]:
    """The log in a Redis that no other test uses."""
    with run_redis(folder) as url:
        async with open_log(url) as log:
            yield log


async def fill(log: RequestLog) -> None:
    """Redis refuses whatever needs memory, until `make_room`."""
    await log._connection.redis.config_set("maxmemory", "1")


async def make_room(log: RequestLog) -> None:
    await log._connection.redis.config_set("maxmemory", "0")
