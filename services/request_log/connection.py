"""The connection to Redis: two pools, the script that all writes of tokens go through, and keys with one hash tag a request."""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum
from importlib import resources
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    ClusterDownError,
    ExecAbortError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from tandem.method.errors import Fenced, Unavailable

_COMMAND_TIMEOUT_SECONDS = 2.0
_BLOCKING_TIMEOUT_SECONDS = 3.0  # of a reply to a read that blocks for up to a second
# Redis answers, but cannot do it now: full, failing over, without its replicas or its disk, or busy with a script.
_TEMPORARY = (OutOfMemoryError, ReadOnlyError, ClusterDownError, MasterDownError, TryAgainError, ExecAbortError)
# The same as text: what the library has no class for, and what Redis before 7 wraps where a script meets it.
_TEMPORARY_CODES = re.compile(r"(^|-)(OOM|READONLY|MISCONF|NOREPLICAS|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|BUSY) ")
STAGES = "stages"


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
    """Redis does not know this request any more: its memory was lost or the keys expired."""


class Connection:
    """One pool for short commands, one for blocking reads. No hidden retries: Temporal is the one layer that retries."""

    def __init__(self, url: str, ttl: timedelta) -> None:
        no_retry: dict[str, Any] = {
            "retry": Retry(NoBackoff(), 0), "decode_responses": True, "socket_connect_timeout": 2.0, "timeout": 5,
        }  # fmt: skip
        self.redis = Redis(
            connection_pool=BlockingConnectionPool.from_url(
                url, max_connections=64, socket_timeout=_COMMAND_TIMEOUT_SECONDS, **no_retry
            )
        )
        self.blocking = Redis(
            connection_pool=BlockingConnectionPool.from_url(
                url, max_connections=4096, socket_timeout=_BLOCKING_TIMEOUT_SECONDS, **no_retry
            )
        )
        self.ttl_ms = int(ttl.total_seconds() * 1000)
        script = resources.files("services.request_log").joinpath("request_log.lua").read_text()
        self._script = self.redis.register_script(script)

    async def close(self) -> None:
        await self.redis.aclose(close_connection_pool=True)
        await self.blocking.aclose(close_connection_pool=True)

    async def run_script(self, request_id: str, role: Role, epoch: int, command: str, *arguments: Any) -> list[str]:
        """Raises Stopped, Fenced, Lost, Unavailable."""
        with translated_errors():
            code, *rest = await self._script(
                keys=[key(request_id, name) for name in (role, "state", STAGES)],
                args=[command, str(role), epoch, self.ttl_ms, *arguments],
            )
        if code in ("OK", "DUP"):
            return list(rest)
        if code == "STOPPED":
            raise Stopped(float(rest[0]))
        if code == "FENCED":
            raise Fenced(f"attempt {rest[0]} owns the {role} of request {request_id!r}", reason="FENCED")
        raise Lost(f"{code}: Redis does not know the {role} of request {request_id!r} up to here")


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
        if isinstance(error, (RedisError, OSError)):
            raise Unavailable(f"the request log does not answer: {error}", reason="REQUEST_LOG_UNAVAILABLE") from error
