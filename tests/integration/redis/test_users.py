"""The users of tandem/access/redis_users.py on a real Redis: every path of a request works under them, and nothing else
does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from services.gateway.chores import OverdueHolds
from services.shared.request_log.connection import Role
from services.shared.request_log.log import RequestLog
from services.shared.request_log.promises import Counting, PolicyOf, Report
from services.shared.request_log.servers import Access, Login
from services.shared.request_log.stops import StopSignal
from tandem.access.redis_users import USERS, acl_lines, passwords_in, user_of
from tandem.access.tenants import TenantFile
from tandem.method.profile.watched_promise import Watched
from tests.conftest import Hold
from tests.integration.asking import BOUND_SECONDS, ask, events, kinds, shadow_of
from tests.integration.conftest import TTL, System, run_system
from tests.integration.redis.servers import run_cluster, run_server_with_users
from tests.integration.test_batch import plain, read, run

pytestmark = pytest.mark.asyncio(loop_scope="session")
# What no process needs: to see, empty, stop, reconfigure or copy the whole of Redis, or to listen to others.
DANGEROUS = (
    "FLUSHALL",
    "FLUSHDB",
    "CONFIG GET *",
    "KEYS *",
    "SCAN 0",
    "SHUTDOWN",
    "DEBUG OBJECT x",
    "MONITOR",
    "ACL LIST",
    "SAVE",
    "CLIENT LIST",
    "REPLICAOF NO ONE",
    "RANDOMKEY",
    "DBSIZE",
    "SUBSCRIBE x",
    "PUBLISH x y",
    "GET {x}:state",
    "SET {x}:state y",
    "EVAL return(1) 0",
    "SCRIPT FLUSH",
    "MIGRATE h 1 k 0 1",
    "SWAPDB 0 1",
    "MODULE LIST",
    "CLUSTER RESET",
    "INFO",
)


@dataclass
class Guarded:
    """A Redis that knows only the users. `password` is of each process."""

    port: int
    passwords: dict[str, str]

    def log(self, process: str) -> RequestLog:
        login = Login(user_of(process).name, self.passwords[process])
        return RequestLog(f"redis://127.0.0.1:{self.port}/0", TTL, Access(login))

    def redis(self, process: str) -> Redis:
        user = user_of(process)
        return Redis(port=self.port, username=user.name, password=self.passwords[process])


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("users")
    passwords = passwords_in(folder / "passwords")
    with run_server_with_users(folder, lambda version: acl_lines(passwords, version)) as port:
        yield Guarded(port, passwords)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def system(
    guarded: Guarded, temporal_address: str, profiles_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[System]:
    folder = tmp_path_factory.mktemp("tenants")
    file = TenantFile(folder / "tenants.json")
    file.set("acme", {"requests_per_minute": 100, "usd_per_day": 100.0})
    logs = {user.process: guarded.log(user.process) for user in USERS}
    running = run_system(
        "scripted-shadow", profiles_folder, logs, temporal_address,
        alias="users", files=str(folder / "files"), tenants=file.path,
    )  # fmt: skip
    async with running as started:
        yield started


async def test_a_request_is_scored_stopped_answered_and_deleted(system: System) -> None:
    seen = await events(system, "[ms=50 scores=0:0.1,16:0.9 slm_eos=5]")
    assert {"insight_delta", "stage_completed", "scored", "llm_stopped", "answer_delta", "completed"} <= set(
        kinds(seen)
    )
    result = seen[-1].result
    assert not result.notes
    await shadow_of(system, result.request_id)
    await system.client.delete(result.request_id)


async def test_a_request_is_cancelled(system: System, hold: Hold) -> None:
    request_id = uuid4().hex
    asked = asyncio.create_task(ask(system, f"[llm_hold=24:{hold} scores=0:0.1]", request_id=request_id))
    async with asyncio.timeout(BOUND_SECONDS):
        while not any(request_id in key for key in system.llm.running):  # a shadow of another request may run too
            await asyncio.sleep(0.01)
        await system.client.cancel(request_id)
        result = await asked
    assert result["stop"]["reason"] == "cancelled"


async def test_a_tenants_request_is_held_and_settled(system: System) -> None:
    await ask(system, "[scores=0:0.9 slm_eos=5]", tenant="acme", session="s")
    await OverdueHolds(system.tenancy, system.log, system.workflows.status).look()
    standing = await system.log.accounts.standing("acme", system.tenancy.clock())
    assert (standing.requests_per_minute, standing.concurrent_requests) == (1, 0)
    assert standing.usd_per_day > 0


async def test_a_batch_is_answered(system: System) -> None:
    batch = await run(system, plain(3))
    assert batch.counts.answered == 3
    assert len(await read(system, batch.output_file_id)) == 3


@pytest.mark.parametrize("process", ["gateway", "worker"])
async def test_an_outcome_is_counted_and_kept(guarded: Guarded, process: str) -> None:
    promise = Watched("answer", "scores", "made", lose_at_most=0.05, confidence=0.95, steps=3, keep_days=30)
    policy, now = PolicyOf(process, "profile", "answer", "made"), datetime.now(UTC)
    log, gateway = guarded.log(process), guarded.log("gateway")
    told = 0
    counting = Counting.COUNTED
    while counting is Counting.COUNTED:
        counting, _ = await log.promises.count(policy, promise, Report(uuid4().hex, "caller", 1.0), now)
        told += 1
    assert counting is Counting.STRICTER
    assert len(await gateway.promises.kept(policy, now - timedelta(days=1))) == told
    counted, changes = await gateway.promises.standing(policy)
    assert counted.step == len(changes) == 1
    await log.close()
    await gateway.close()


async def test_a_session_is_summed_and_read(guarded: Guarded) -> None:
    worker, gateway = guarded.log("worker"), guarded.log("gateway")
    for request_id in ("a", "b", "a"):
        await worker.sessions.add("acme", "summed", request_id, 5)
    await guarded.redis("worker").zadd("{tenant:acme}:session:old", {"a": 5, "b": 5})  # before there were totals
    assert await gateway.sessions.spent("acme", "summed") == await gateway.sessions.spent("acme", "old") == 10 / 1e9
    await worker.close()
    await gateway.close()


@pytest.mark.parametrize("process", [user.process for user in USERS])
async def test_no_process_may_do_what_it_does_not_need(guarded: Guarded, process: str) -> None:
    async with guarded.redis(process) as redis:
        for command in DANGEROUS:
            with pytest.raises((NoPermissionError, ResponseError), match=r"(?i)no permission|NOPERM"):
                await redis.execute_command(*command.split())


async def test_nobody_without_a_password_may_do_anything(guarded: Guarded) -> None:
    once = Retry(NoBackoff(), 0)  # redis-py asks for seconds again where it was refused
    async with Redis(port=guarded.port, retry=once) as redis:
        with pytest.raises((AuthenticationError, NoPermissionError)):
            await redis.ping()
    async with Redis(port=guarded.port, username="tandem-gateway", password="guessed", retry=once) as redis:
        with pytest.raises(AuthenticationError):
            await redis.ping()


async def test_the_users_can_enter_a_cluster(tmp_path: Path) -> None:
    passwords, request_id = passwords_in(tmp_path / "passwords"), uuid4().hex
    with run_cluster(tmp_path) as nodes:
        for line in acl_lines(passwords, 6)[:-1]:
            for port in nodes.data:
                nodes.call(port, "ACL", "SETUSER", *line.split()[1:])
        logs = {
            user.process: RequestLog(nodes.url, TTL, Access(Login(user.name, passwords[user.process])))
            for user in USERS
        }
        for process, role in (("insight-generator", Role.INSIGHT), ("slm-executor", Role.ANSWER)):
            writer = await logs[process].streams.begin(request_id, role, 1, "token")
            await writer.append("a", [1], stage=1)
        assert await logs["sufficiency-scorer"].streams.insight(request_id, 1) == "a"
        await logs["worker"].stops.publish(StopSignal(request_id, Role.INSIGHT, 1, 1.0))
        assert await anext(logs["insight-generator"].stops.follow(request_id))
        read = await logs["gateway"].streams.tail(request_id, {"insight": "0-0", "answer": "0-0"}, timedelta(seconds=1))
        assert {name: len(entries) for name, entries in read.items()} == {"insight": 1, "answer": 1}
        await logs["gateway"].forget(request_id)
        await logs["worker"].sessions.add("acme", "s", request_id, 5)
        assert await logs["gateway"].sessions.spent("acme", "s") == 5 / 1e9
        for log in logs.values():
            await log.close()
