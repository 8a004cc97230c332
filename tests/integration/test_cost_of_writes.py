"""What the writes of a text cost Redis: few commands for each token, and what expires is not renewed with each of
them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from services.shared.request_log.connection import Role, key
from services.shared.request_log.log import RequestLog
from services.shared.request_log.streams import Closing
from tests.integration.request_logs import log_of_its_own

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def log(tmp_path: Path) -> AsyncIterator[RequestLog]:
    async with log_of_its_own(tmp_path) as log:
        yield log


async def test_a_token_costs_redis_four_commands(log: RequestLog) -> None:
    writer = await log.streams.begin(uuid4().hex, Role.INSIGHT, 1, "stage")
    await writer.append("a", [1], prompt_tokens=9)
    before = await commands(log)
    for _ in range(10):
        await writer.append("b", [2])
    made = await commands(log) - before
    assert made == {"evalsha": 10, "hmget": 10, "xadd": 10, "hset": 10}


async def commands(log: RequestLog) -> Counter[str]:
    """Those that Redis has run by now, also within scripts."""
    stats = await log._connection.redis.info("commandstats")
    calls = Counter({name.removeprefix("cmdstat_"): stat["calls"] for name, stat in stats.items()})
    del calls["info"]
    return calls


async def test_keys_are_renewed_when_a_tenth_of_their_life_has_passed(log: RequestLog) -> None:
    request_id = uuid4().hex
    writer = await log.streams.begin(request_id, Role.ANSWER, 1, "token")
    await writer.append("a", [1])
    redis, names = log._connection.redis, [key(request_id, name) for name in ("answer", "state")]
    for name in names:
        await redis.pexpire(name, 60_000)
    await writer.append("b", [2])
    assert [await redis.ttl(name) <= 60 for name in names] == [True, True]
    writer._writes._renewed_at -= log._connection.ttl_ms / 1000 / 5
    await writer.append("c", [3])
    assert [await redis.ttl(name) > 3600 for name in names] == [True, True]


async def test_a_text_costs_a_few_commands_besides_its_tokens(log: RequestLog) -> None:
    writer = await log.streams.begin(uuid4().hex, Role.ANSWER, 1, "token")
    await writer.append("a", [1], prompt_tokens=9)
    await writer.close(Closing("eos", 9, 1))
    before = await commands(log)
    for _ in range(10):
        writer = await log.streams.begin(uuid4().hex, Role.ANSWER, 1, "token")
        await writer.append("a", [1], prompt_tokens=9)
        await writer.close(Closing("eos", 9, 1))
    assert (await commands(log) - before).total() <= 10 * 16
