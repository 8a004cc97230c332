"""The connection to Redis: two clients, the script that all writes of tokens go through, and keys with one hash tag a
request.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from enum import StrEnum
from functools import partial
from importlib import resources
from typing import Any, TypeVar

from redis.asyncio.cluster import RedisCluster
from redis.commands.core import AsyncScript
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ExecAbortError,
    MasterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as BrokenConnection

from services.shared.observability.availability import count_unreached
from services.shared.request_log.servers import Access, Client, open_client
from tandem.method.errors import Fenced, RequestLogUnavailable

_COMMANDS, _COMMAND_TIMEOUT_SECONDS = 64, 2.0
_BLOCKING, _BLOCKING_TIMEOUT_SECONDS = 4096, 3.0  # of a reply to a read that blocks for up to a second
# Redis answers, but cannot do it now: full, failing over, moving keys, without its replicas or its disk, or busy with a
# script, or a primary that was elected between the load of a script and its call.
_TEMPORARY = (
    OutOfMemoryError,
    ReadOnlyError,
    ClusterDownError,
    MasterDownError,
    TryAgainError,
    NoScriptError,
    ExecAbortError,
    AskError,
)
# The same as text: what the library has no class for, and what Redis before 7 wraps where a script meets it.
_TEMPORARY_CODES = re.compile(
    r"(^|-)(OOM|READONLY|MISCONF|NOREPLICAS|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|LOADING|UNBLOCKED|BUSY) "
)
STAGES, PASSES, BODIES = "stages", "passes", "bodies"

T = TypeVar("T")


class Role(StrEnum):
    """A writer of tokens; its value names its stream."""

    INSIGHT = "insight"
    ANSWER = "answer"


class Stopped(Exception):
    """The stop flag is set for this epoch. `decided_at` is Unix time in seconds."""

    def __init__(self, decided_at: float) -> None:
        super().__init__("stopped")
        self.decided_at = decided_at


class Lost(Exception):
    """Redis does not know this request any more, or lacks its last entries: its memory was lost, the keys expired, or a
    replica that did not have them has become the primary. `seq` is the last entry that it has; None: it does not know
    the writer.
    """

    def __init__(self, message: str, seq: int | None = None) -> None:
        super().__init__(message)
        self.seq = seq


class Connection:
    """One client for short commands, one for reads that block. Temporal is the one layer that retries; here only a
    write that counts once is sent twice, over another connection, where its own broke.
    """

    def __init__(self, url: str, ttl: timedelta, access: Access | None = None) -> None:
        access = access or Access()
        self.redis: Client = open_client(url, access, _COMMANDS, _COMMAND_TIMEOUT_SECONDS)
        self.blocking: Client = open_client(url, access, _BLOCKING, _BLOCKING_TIMEOUT_SECONDS)
        self.ttl_ms = int(ttl.total_seconds() * 1000)
        self._script = self.script("request_log.lua")

    def script(self, name: str) -> AsyncScript:
        """Return the script of that file in this folder, which is run by its hash."""
        return self.redis.register_script(resources.files("services.shared.request_log").joinpath(name).read_text())

    async def close(self) -> None:
        await self.redis.aclose()
        await self.blocking.aclose()

    async def read_new(
        self, cursors: Mapping[str, str], block: timedelta, count: int | None = None
    ) -> dict[str, list[tuple[str, dict[str, str]]]]:
        """Entries of streams of one request after `cursors`, by key; empty when none came within `block`. Raises
        Unavailable.
        """
        with translated_errors():
            target = await self._node_of(next(iter(cursors)))
            milliseconds = int(block.total_seconds() * 1000)
            limit = () if count is None else ("COUNT", count)
            streams = ("STREAMS", *cursors.keys(), *cursors.values())
            reply = await self.blocking.execute_command("XREAD", *limit, "BLOCK", milliseconds, *streams, **target)
        pairs = reply.items() if isinstance(reply, dict) else (reply or [])
        return {name: [(i, fields) for i, fields in entries if fields] for name, entries in pairs}

    @asynccontextmanager
    async def pipeline(self, request_id: str) -> AsyncIterator[Any]:
        """Commands on a request's keys in one round trip.

        A pipeline of redis-py 8.1 that fails leaves the client's map of a cluster as it was, so that it would go on
        asking a dead node; a plain command that fails has it read again. (Its `exists` is a pipeline too.)
        """
        try:
            async with self.redis.pipeline(transaction=False) as pipe:
                yield pipe
        except RedisCluster.ERRORS_ALLOW_RETRY:
            with suppress(RedisError, OSError):
                await self.redis.execute_command("EXISTS", key(request_id, "state"))
            raise

    async def _node_of(self, name: str) -> dict[str, Any]:
        """Where a cluster has a key. Its client would ask a node for the keys of each XREAD, and go on asking a dead
        one.
        """
        if not isinstance(self.blocking, RedisCluster):
            return {}
        await self.blocking.initialize()
        return {"target_nodes": self.blocking.get_node_from_key(name)}

    async def run_script(
        self, request_id: str, role: Role, epoch: int, command: str, *arguments: Any, repeats: bool = False
    ) -> list[str]:
        """`repeats`: sent once more where its connection broke, and Redis may have run it. Raises Stopped, Fenced,
        Lost, Unavailable.
        """
        keys = [key(request_id, name) for name in (role, "state", STAGES)]
        sent = [command, str(role), epoch, self.ttl_ms, *arguments]
        with translated_errors():
            write = partial(self._script, keys, sent)
            code, *rest = await (twice(write) if repeats else write())
        if code == "OK":
            return list(rest)
        if code == "STOPPED":
            raise Stopped(float(rest[0]))
        if code == "FENCED":
            raise Fenced(f"attempt {rest[0]} owns the {role} of request {request_id!r}", reason="FENCED")
        raise Lost(
            f"{code}: Redis does not know the {role} of request {request_id!r} up to here",
            int(rest[0]) if code == "GAP" else None,
        )


async def twice(write: Callable[[], Awaitable[T]]) -> T:
    """A write that changes nothing when it is made again: once more where its connection broke, and Redis may have run
    it.
    """
    try:
        return await write()
    except BrokenConnection:
        return await write()


def key(request_id: str, name: str) -> str:
    return f"{{{request_id}}}:{name}"


def _is_temporary(error: ResponseError) -> bool:
    return isinstance(error, _TEMPORARY) or _TEMPORARY_CODES.search(str(error)) is not None


class translated_errors:
    """Redis's errors as Unavailable: the caller decides whether its work can go on without the log. What Redis cannot
    understand is an error of ours and passes.

    A class, because a generator-based context manager costs more than a short command.
    """

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ResponseError) and not _is_temporary(error):
            return
        if isinstance(error, (RedisError, RedisClusterException, OSError)):
            count_unreached("redis")
            message = f"the request log does not answer: {error}"
            raise RequestLogUnavailable(message) from error
