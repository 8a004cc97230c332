"""A Redis that is full, read-only, silent or restarted: "try again" for writers, and for readers a pause, never a
hang.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
import pytest_asyncio

from services.gateway.event_stream import EventStream, Position, PositionedEvent
from services.shared.request_log import connection, servers
from services.shared.request_log.connection import Role
from services.shared.request_log.decisions import RESULT_SLOT
from services.shared.request_log.ledger import Pass
from services.shared.request_log.log import RequestLog
from services.shared.request_log.stops import StopSignal
from services.shared.request_log.streams import PAGE
from tandem.method.errors import Unavailable
from tandem.method.request.events import AnswerDelta, LlmStopped, Restarted
from tandem.method.request.result import SolveResult, StopReason
from tandem.method.tokens import TokenCounts
from tests.integration.asking import ask
from tests.integration.conftest import System
from tests.integration.request_logs import fill, log_of_its_own

pytestmark = pytest.mark.asyncio(loop_scope="session")
STOPPED = LlmStopped(StopReason.SUFFICIENT, 1.0, 0)


@pytest_asyncio.fixture(loop_scope="session")
async def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RequestLog]:
    monkeypatch.setattr(connection, "_COMMAND_TIMEOUT_SECONDS", 2.0)
    monkeypatch.setattr(connection, "_BLOCKING_TIMEOUT_SECONDS", 3.0)
    async with log_of_its_own(tmp_path) as log:
        yield log


async def make_replica(log: RequestLog) -> None:
    await log._connection.redis.execute_command("REPLICAOF", "127.0.0.1", "1")


@contextmanager
def silent(pid: int) -> Iterator[None]:
    process = psutil.Process(pid)
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


async def pid_of(log: RequestLog) -> int:
    return int((await log._connection.redis.info("server"))["process_id"])


@pytest.mark.parametrize("fault", [fill, make_replica])
async def test_a_redis_that_takes_no_writes_is_unavailable(
    log: RequestLog, fault: Callable[[RequestLog], Awaitable[None]]
) -> None:
    rid = uuid4().hex
    writer = await log.streams.begin(rid, Role.ANSWER, 1, "token")
    await fault(log)
    writes: list[Callable[[], Awaitable[object]]] = [
        lambda: writer.append("a", [1]),
        lambda: log.streams.begin(rid, Role.ANSWER, 2, "token"),
        lambda: log.decisions.publish(rid, RESULT_SLOT, STOPPED),
        lambda: log.ledger.add_pass(rid, Pass.SCORER, "first", TokenCounts(1)),
        lambda: log.stops.publish(StopSignal(rid, Role.ANSWER, 1, 0.0)),
        lambda: log.watchers.renew(rid, "a", 100.0, timedelta(seconds=5)),
    ]
    for write in writes:
        with pytest.raises(Unavailable) as caught:
            await write()
        assert caught.value.reason == "REQUEST_LOG_UNAVAILABLE"
    assert (await log.streams.read(rid, Role.ANSWER)).text == ""  # it can still be read


async def test_a_connection_that_redis_has_closed_for_being_idle_is_not_kept_half_closed(
    log: RequestLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "_LOOK_SECONDS", 0.2)
    process, redis = psutil.Process(), log._connection.redis
    port = redis.connection_pool.connection_kwargs["port"]

    def states() -> list[str]:
        return [each.status for each in process.connections("tcp") if each.raddr and each.raddr.port == port]

    await asyncio.gather(*(redis.blpop([f"nothing-{number}"], 0.2) for number in range(20)))
    assert states().count(psutil.CONN_ESTABLISHED) >= 20
    await redis.config_set("timeout", 1)
    async with asyncio.timeout(60):
        while states():
            await asyncio.sleep(0.2)
    assert await redis.ping()


async def test_a_silent_redis_is_unavailable_and_holds_nobody_up(log: RequestLog) -> None:
    with silent(await pid_of(log)):
        began = time.monotonic()
        with pytest.raises(Unavailable):
            await log.streams.tail("r", {"answer": "0-0"}, timedelta(seconds=1))
        assert time.monotonic() - began < 10


async def test_a_reader_has_its_result_although_redis_is_silent(log: RequestLog, system: System) -> None:
    result = await stored(system)
    ending: asyncio.Future[SolveResult] = asyncio.get_running_loop().create_future()
    stream = EventStream(log, result.request_id, (), Position())
    reading = asyncio.create_task(collect(stream, ending))
    with silent(await pid_of(log)):
        began = time.monotonic()
        ending.set_result(result)
        seen = await reading
        assert time.monotonic() - began < 10
    assert [event.event for event in seen] == [result]


async def test_a_reader_reads_on_when_redis_has_lost_its_memory(log: RequestLog, system: System) -> None:
    result = await stored(system)
    ending: asyncio.Future[SolveResult] = asyncio.get_running_loop().create_future()
    stream = EventStream(log, result.request_id, (), Position())
    seen: list[PositionedEvent] = []
    reading = asyncio.create_task(collect(stream, ending, seen))
    writer = await log.streams.begin(result.request_id, Role.ANSWER, 1, "token")
    for letter in "abc":
        await writer.append(letter, [1])
    while "c" not in text_of(seen):
        await asyncio.sleep(0.01)
    await log._connection.redis.flushall()
    await log._connection.redis.client_kill_filter(skipme=True)  # as a restart does
    again = await log.streams.begin(result.request_id, Role.ANSWER, 2, "token")
    await again.append("z", [2])
    async with asyncio.timeout(30):
        while not text_of(seen).endswith("z"):
            await asyncio.sleep(0.01)
    ending.set_result(result)
    await reading
    assert [e.event for e in seen if isinstance(e.event, Restarted)] == [Restarted("slm", 0, 2)]
    assert (text_of(seen), seen[-1].event) == ("abcz", result)


async def test_all_of_a_long_answer_is_sent_to_a_client_that_comes_late(log: RequestLog, system: System) -> None:
    result = await stored(system)
    writer = await log.streams.begin(result.request_id, Role.ANSWER, 1, "token")
    for _ in range(2 * PAGE + 1):
        await writer.append("y", [1])
    await log.decisions.publish(result.request_id, RESULT_SLOT, result)
    stream = EventStream(log, result.request_id, (), Position())
    seen = await collect(stream, asyncio.get_running_loop().create_future())
    assert (len(text_of(seen)), seen[-1].event) == (2 * PAGE + 1, result)


async def test_what_settlement_asks_of_a_lost_request_leaves_no_key_for_ever(log: RequestLog) -> None:
    rid = uuid4().hex
    await log.ledger.take_unreported(rid, Role.ANSWER)
    keys = await log._connection.redis.keys(f"{{{rid}}}:*")
    assert [await log._connection.redis.pttl(name) > 0 for name in keys] == [True] * len(keys)


async def stored(system: System) -> SolveResult:
    """A result of Temporal's."""
    request_id = (await ask(system, "[scores=0:0.9 slm_eos=5]"))["request_id"]
    result: SolveResult = await system.temporal.get_workflow_handle(request_id, result_type=SolveResult).result()
    return result


async def collect(
    stream: EventStream, ending: asyncio.Future[SolveResult], seen: list[PositionedEvent] | None = None
) -> list[PositionedEvent]:
    async def renew_lease() -> None:
        pass

    seen = [] if seen is None else seen
    async for event in stream.events(ending, renew_lease):
        seen.append(event)
    return seen


def text_of(seen: list[PositionedEvent]) -> str:
    return "".join(e.event.text for e in seen if isinstance(e.event, AnswerDelta))
