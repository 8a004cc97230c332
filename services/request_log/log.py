"""The request log: one request's streams in Redis, each with one writer at a time and any number of readers.

`{id}:insight` and `{id}:answer` hold deltas, stage ends, restarts and the end, `{id}:stages` the insight's once more without
the deltas between; `{id}:decisions` what the worker decided; `{id}:state` the epochs, the stop flag and the ledger that outlives a writer. All keys of a request share a
hash tag and expire. A writer owns its stream by epoch: a higher one fences it off, and the log refuses gaps and
repeats, so that a retried write is harmless and a zombie's is void.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import timedelta
from enum import StrEnum
from importlib import resources
from typing import Any, Literal

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from services.request_log.transcript import Transcript, parse_entry
from tandem.method.errors import FailedPrecondition, Fenced, Unavailable

_COMMAND_TIMEOUT_SECONDS = 2.0
_STOP_CHANNEL = "tandem:stops"
_STAGES = "stages"
_FINISHED_TTL = timedelta(minutes=5)


class Reading(StrEnum):
    """Passes that read and write nothing: the scorer's, and the small model's before its answer is called for."""

    SCORER = "scorer"
    AHEAD = "ahead"


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
    """Redis no longer knows this request: its memory was lost or the keys expired."""


@dataclass(frozen=True, slots=True)
class Resumption:
    """Where a writer begins. `tokens` and `stage` are what an earlier epoch left that counts, then its ledger.

    `previous_epoch` is 0 when Redis knows of none: there was none, or Redis has lost it. The untold tokens are those of
    attempts that died before they could put them on a span.
    """

    seq: int = 0
    tokens: int = 0
    stage: int = 0
    input_tokens: int = 0
    discarded_tokens: int = 0
    previous_epoch: int = 0
    untold_input_tokens: int = 0
    untold_made_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Ledger:
    """Tokens of one role as Redis knows them, whatever became of the writer: read, and made in any state."""

    input_tokens: int = 0
    made_tokens: int = 0
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Stop:
    request_id: str
    role: Role
    epoch: int
    decided_at: float


@dataclass(frozen=True, slots=True)
class Closing:
    """A writer's last word. Of the tokens it made, `lost` and `unlogged` are in no entry: lost for nothing, or because
    of the stop. `unbooked_prompt` was read without a first entry to book it. `read` and `made` are on its span.
    """

    reason: str
    lost: int
    unlogged: int
    unbooked_prompt: int
    read: int
    made: int


class Writer:
    """The owner of one stream under one epoch. Raises Stopped, Fenced, Lost, Unavailable from every write."""

    def __init__(self, log: RequestLog, request_id: str, role: Role, epoch: int, resumption: Resumption) -> None:
        self._log, self._request_id, self._role, self._epoch = log, request_id, role, epoch
        self.resumption = resumption
        self._seq = resumption.seq
        self.tokens = resumption.tokens

    async def append(self, text: str, ids: Sequence[int], stage: int = 0, input_tokens: int = 0) -> None:
        """Add `ids` with their text; `stage` > 0 ends that stage; `input_tokens` is the prompt read for them."""
        await _to_its_end(self._append(text, ids, stage, input_tokens))

    async def close(self, closing: Closing) -> None:
        """End the stream."""
        await _to_its_end(self._run("close", *astuple(closing)))

    async def _append(self, text: str, ids: Sequence[int], stage: int, input_tokens: int) -> None:
        tokens = self.tokens + len(ids)
        await self._run("append", self._seq + 1, tokens, text, json.dumps(list(ids)), stage, input_tokens)
        self._seq += 1
        self.tokens = tokens

    async def _run(self, command: str, *arguments: Any) -> None:
        await self._log.run_script(self._request_id, self._role, self._epoch, command, *arguments)


async def _to_its_end(write: Coroutine[Any, Any, None]) -> None:
    """A write that has begun is waited for, also by a caller that is cancelled: it may have landed, and be counted twice."""
    task = asyncio.create_task(write)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise


class RequestLog:
    """All access to Redis. One pool for short commands, one for blocking reads; no hidden retries (Temporal retries)."""

    def __init__(self, url: str, ttl: timedelta) -> None:
        no_retry = {"retry": Retry(NoBackoff(), 0), "decode_responses": True, "socket_connect_timeout": 2.0}
        self._redis = Redis(
            connection_pool=BlockingConnectionPool.from_url(
                url, max_connections=64, timeout=5, socket_timeout=_COMMAND_TIMEOUT_SECONDS, **no_retry
            )
        )
        self._blocking = Redis(
            connection_pool=BlockingConnectionPool.from_url(
                url, max_connections=4096, timeout=5, socket_timeout=None, **no_retry
            )
        )
        self._ttl_ms = int(ttl.total_seconds() * 1000)
        script = resources.files("services.request_log").joinpath("request_log.lua").read_text()
        self._script = self._redis.register_script(script)

    async def close(self) -> None:
        await self._redis.aclose(close_connection_pool=True)
        await self._blocking.aclose(close_connection_pool=True)

    async def ping(self) -> None:
        """Raises Unavailable when Redis does not answer."""
        with _translated():
            await self._redis.ping()

    # -- writers ------------------------------------------------------------------------------------------------

    async def begin(self, request_id: str, role: Role, epoch: int, keep: Literal["stage", "token"]) -> Writer:
        """Take the role's stream over from any lower epoch. Raises Fenced when a higher or equal one has it."""
        reply = await self.run_script(request_id, role, epoch, "begin", keep)
        return Writer(self, request_id, role, epoch, Resumption(*(int(value) for value in reply)))

    async def run_script(self, request_id: str, role: Role, epoch: int, command: str, *arguments: Any) -> list[str]:
        with _translated():
            code, *rest = await self._script(
                keys=[_key(request_id, name) for name in (role, "state", _STAGES)],
                args=[command, str(role), epoch, self._ttl_ms, *arguments],
            )
        if code in ("OK", "DUP"):
            return list(rest)
        if code == "STOPPED":
            raise Stopped(float(rest[0]))
        if code == "FENCED":
            raise Fenced(f"attempt {rest[0]} owns the {role} of request {request_id!r}", reason="FENCED")
        raise Lost(f"{code}: Redis does not know the {role} of request {request_id!r} up to here")

    # -- readers ------------------------------------------------------------------------------------------------

    async def read(self, request_id: str, role: Role) -> Transcript:
        with _translated():
            raw = await self._redis.xrange(_key(request_id, role))
        transcript = Transcript()
        for entry in raw:
            transcript.apply(parse_entry(*entry))
        return transcript

    async def insight(self, request_id: str, stage: int) -> str:
        """Text up to the end of `stage`; 0 is none, and asks nobody. Raises FailedPrecondition when the log lacks it."""
        text = (await self.read(request_id, Role.INSIGHT)).text_to_stage(stage) if stage else ""
        if text is None:
            raise FailedPrecondition(
                f"the request log has no stage {stage} of request {request_id!r}", reason="STAGE_LOST"
            )
        return text

    async def tail(
        self, request_id: str, cursors: Mapping[str, str], block: timedelta
    ) -> dict[str, list[tuple[str, dict[str, str]]]]:
        """New raw entries of some of a request's streams after `cursors`; empty when none came within `block`."""
        keys = {_key(request_id, name): name for name in cursors}
        with _translated():
            reply = await self._blocking.xread(
                {key: cursors[name] for key, name in keys.items()}, count=256, block=int(block.total_seconds() * 1000)
            )
        pairs = reply.items() if isinstance(reply, dict) else (reply or [])
        return {keys[key]: [(i, f) for i, f in entries if f] for key, entries in pairs}

    async def follow_stages(
        self, request_id: str, block: timedelta = timedelta(seconds=1)
    ) -> AsyncIterator[Transcript]:
        """The insight's transcript without what lies between the ends of its stages, each time a stage or the whole ends.

        A lost stream begins anew, from nothing.
        """
        transcript = Transcript()
        while True:
            news = (await self.tail(request_id, {_STAGES: transcript.cursor}, block)).get(_STAGES)
            if news:
                for entry in news:
                    transcript.apply(parse_entry(*entry))
            elif await self._was_lost(request_id, transcript.cursor):
                transcript = Transcript()
            yield transcript

    async def _was_lost(self, request_id: str, cursor: str) -> bool:
        with _translated():
            seq = await self._redis.hget(_key(request_id, "state"), f"{Role.INSIGHT}:seq")
        return int(seq or 0) < int(cursor.split("-")[0])

    async def ledger(self, request_id: str, role: Role) -> Ledger:
        with _translated():
            names = ("input", "epoch", "tokens", "discarded", "unlogged")
            values = await self._redis.hmget(_key(request_id, "state"), [f"{role}:{name}" for name in names])
        read, epoch, *made = (int(value or 0) for value in values)
        return Ledger(read, sum(made), epoch)

    async def tell_untold(self, request_id: str, role: Role) -> tuple[int, int]:
        """Tokens (read, made) of attempts that died with their spans; the caller puts them on one. Told only once."""
        read, made = await self.run_script(request_id, role, 0, "untold")
        return int(read), int(made)

    async def count_read(self, request_id: str, reading: Reading, computed: int, cached: int) -> tuple[int, int]:
        """Add a pass to the request's ledger, before anyone hears of it. Returns (computed, cached) of all its passes."""
        key = _key(request_id, "state")
        with _translated():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.hincrby(key, f"{reading}:computed", computed).hincrby(key, f"{reading}:cached", cached)
                pipe.pexpire(key, self._ttl_ms)
                total_computed, total_cached, _ = await pipe.execute()
        return int(total_computed), int(total_cached)

    async def tokens_read(self, request_id: str, reading: Reading) -> tuple[int, int]:
        """Tokens (computed, cached) of all the request's passes, also of those whose result was lost."""
        with _translated():
            values = await self._redis.hmget(_key(request_id, "state"), [f"{reading}:computed", f"{reading}:cached"])
        computed, cached = (int(value or 0) for value in values)
        return computed, cached

    # -- the stop -----------------------------------------------------------------------------------------------

    async def request_stop(self, stop: Stop) -> None:
        """Set the flag that refuses every later append of this epoch and tell the writer's process at once."""
        state = _key(stop.request_id, "state")
        fields = {f"{stop.role}:stop_epoch": stop.epoch, f"{stop.role}:stop_at": repr(stop.decided_at)}
        message = json.dumps([stop.request_id, str(stop.role), stop.epoch, stop.decided_at])
        with _translated():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hset(state, mapping=fields).pexpire(state, self._ttl_ms).publish(_STOP_CHANNEL, message)
                await pipe.execute()

    async def stops(self) -> AsyncIterator[Stop]:
        """Stops of all requests, as they are made. At most once: the flag is what cannot be missed."""
        async with self._blocking.pubsub() as pubsub:
            with _translated():
                await pubsub.subscribe(_STOP_CHANNEL)
            while True:
                with _translated():
                    message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=None)
                if message:
                    request_id, role, epoch, decided_at = json.loads(message["data"])
                    yield Stop(request_id, Role(role), epoch, decided_at)

    # -- decisions ----------------------------------------------------------------------------------------------

    async def publish_decision(
        self, request_id: str, slot: int, kind: str, payload: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """Add to `{id}:decisions`. A slot is written once, so a repeated activity publishes nothing twice.

        Returns what the slot held already, which stands; None when this is the first to be written there.
        """
        key = _key(request_id, "decisions")
        entry = {"kind": kind, "payload": json.dumps(payload)}
        with _translated():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.xadd(key, entry, id=f"{slot}-0").pexpire(key, self._ttl_ms)
                added, _ = await pipe.execute(raise_on_error=False)
        if not isinstance(added, ResponseError):
            return None
        if "equal or smaller" not in str(added):
            raise added
        return await self.decision(request_id, slot)

    async def decision(self, request_id: str, slot: int) -> dict[str, Any] | None:
        """The payload in a slot; None while it is empty."""
        with _translated():
            entries = await self._redis.xrange(_key(request_id, "decisions"), f"{slot}-0", f"{slot}-0")
        return json.loads(entries[0][1]["payload"]) if entries else None

    async def finish(self, request_id: str) -> None:
        """The request has ended: its keys live on for a short while, for a client that comes back."""
        with _translated():
            async with self._redis.pipeline(transaction=False) as pipe:
                for name in (*Role, _STAGES, "decisions", "state"):
                    pipe.pexpire(_key(request_id, name), int(_FINISHED_TTL.total_seconds() * 1000))
                await pipe.execute()

    # -- who is watching ----------------------------------------------------------------------------------------

    async def watch(self, request_id: str, watcher: str, now: float, lease: timedelta) -> None:
        """Say that `watcher` (a client's stream) reads this request until `now` + `lease`, Unix seconds."""
        key = _key(request_id, "watchers")
        with _translated():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.zadd(key, {watcher: now + lease.total_seconds()}).pexpire(key, self._ttl_ms)
                await pipe.execute()

    async def unwatch(self, request_id: str, watcher: str) -> None:
        with _translated():
            await self._redis.zrem(_key(request_id, "watchers"), watcher)

    async def is_watched(self, request_id: str, now: float) -> bool:
        with _translated():
            return bool(await self._redis.zcount(_key(request_id, "watchers"), now, "+inf"))


def _key(request_id: str, name: str) -> str:
    return f"{{{request_id}}}:{name}"


class _translated:
    """Redis's own errors as Unavailable: the caller says what a lost log means for its work."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ResponseError):
            return
        if isinstance(error, (RedisError, OSError)):
            raise Unavailable(f"the request log does not answer: {error}", reason="REQUEST_LOG_UNAVAILABLE") from error
