"""The request log as each process opens it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path

from services.request_log.log import RequestLog
from services.sealing.sealer import Sealer
from tandem.local.probes import answers_ping
from tandem.paths import find_binary
from tandem.redis_users import USERS
from tests.conftest import run_server

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
    program = str(find_binary("redis-server"))

    def command(port: int) -> list[str]:
        return [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]

    with run_server(command, answers_ping) as port:
        async with open_log(f"redis://127.0.0.1:{port}/0") as log:
            yield log


async def fill(log: RequestLog) -> None:
    """Redis refuses whatever needs memory, until `make_room`."""
    await log._connection.redis.config_set("maxmemory", "1")


async def make_room(log: RequestLog) -> None:
    await log._connection.redis.config_set("maxmemory", "0")
