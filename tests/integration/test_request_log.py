"""The fenced log on a real Redis: who may write, what a reader sees, what is billed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import pytest
import pytest_asyncio

from services.shared.request_log.connection import Lost, Role, Stopped
from services.shared.request_log.decisions import scored_slot
from services.shared.request_log.log import RequestLog
from services.shared.request_log.stops import StopSignal
from services.shared.request_log.streams import Closing
from tandem.method.errors import Fenced, Unavailable
from tandem.method.request.events import Scored
from tandem.method.tokens import TokenCounts
from tests.integration.asking import forget
from tests.integration.request_logs import open_log

pytestmark = pytest.mark.asyncio(loop_scope="session")
SHORT, TTL = timedelta(milliseconds=100), timedelta(hours=2)
SCORED = Scored(0, 0.5, 0.8, False, "untrained", False)


@pytest_asyncio.fixture(loop_scope="session")
async def log(redis_url: str) -> AsyncIterator[RequestLog]:
    async with open_log(redis_url) as log:
        yield log


async def test_readers_see_text_stages_and_the_end(log: RequestLog) -> None:
    rid = uuid4().hex
    writer = await log.streams.begin(rid, Role.INSIGHT, 1, "stage")
    await writer.append("ab", [1, 2], prompt_tokens=9)
    await writer.append("c", [3], stage=1)
    await writer.append("d", [4])
    await writer.close(Closing("length", 9, 4))
    seen = await log.streams.read(rid, Role.INSIGHT)
    assert (seen.text, seen.ids, seen.tokens, seen.stage_ends, seen.is_complete) == (
        "abcd",
        (1, 2, 3, 4),
        4,
        {1: 3},
        True,
    )
    assert (seen.text_to_stage(0), seen.text_to_stage(1), seen.text_to_stage(2)) == ("", "abc", None)
    assert (await log.ledger.counts(rid, Role.INSIGHT)).prompt == 9


async def test_a_newer_epoch_fences_the_older_and_retains_its_finished_stages(log: RequestLog) -> None:
    rid = uuid4().hex
    old = await log.streams.begin(rid, Role.INSIGHT, 1, "stage")
    await old.append("ab", [1, 2], stage=1, prompt_tokens=5)
    await old.append("cd", [3, 4])
    new = await log.streams.begin(rid, Role.INSIGHT, 2, "stage")
    assert (
        new.resumption.tokens,
        new.resumption.stage,
        new.resumption.counts.prompt,
        new.resumption.counts.discarded,
    ) == (2, 1, 5, 2)
    with pytest.raises(Fenced):
        await old.append("e", [5])
    with pytest.raises(Fenced):
        await log.streams.begin(rid, Role.INSIGHT, 2, "stage")
    await new.append("CD", [6, 7], stage=2, prompt_tokens=7)
    seen = await log.streams.read(rid, Role.INSIGHT)
    assert (seen.text, seen.stage_ends, seen.epoch) == ("abCD", {1: 2, 2: 4}, 2)
    assert await log.ledger.counts(rid, Role.INSIGHT) == TokenCounts(prompt=12, discarded=6)


async def test_tokens_of_a_killed_writer_are_reported_once(log: RequestLog) -> None:
    rid = uuid4().hex
    first = await log.streams.begin(rid, Role.INSIGHT, 1, "stage")
    await first.append("abc", [1, 2, 3], stage=1, prompt_tokens=5)
    await first.close(Closing("aborted", 5, 4))  # its span reports 5 prompt tokens and 4 generated ones
    killed = await log.streams.begin(rid, Role.INSIGHT, 2, "stage")
    assert killed.resumption.unreported == TokenCounts()
    await killed.append("de", [4, 5], prompt_tokens=8)
    third = await log.streams.begin(rid, Role.INSIGHT, 3, "stage")
    assert third.resumption.unreported == TokenCounts(prompt=8, discarded=2)
    assert await log.ledger.take_unreported(rid, Role.INSIGHT) == TokenCounts()
    assert (await log.ledger.counts(rid, Role.INSIGHT)).discarded == 6


async def test_what_a_fenced_off_writer_made_and_did_not_log_is_told_to_the_owner_once(log: RequestLog) -> None:
    rid = uuid4().hex
    old = await log.streams.begin(rid, Role.ANSWER, 1, "token")
    await old.append("ab", [1, 2], prompt_tokens=5)
    new = await log.streams.begin(rid, Role.ANSWER, 2, "token")
    for _ in range(2):
        with pytest.raises(Fenced):
            await old.close(Closing("aborted", 5, 9, is_on_span=False))
    await new.append("c", [3], prompt_tokens=4)
    assert await new.close(Closing("eos", 4, 1)) == TokenCounts(discarded=7)
    assert await log.ledger.counts(rid, Role.ANSWER) == TokenCounts(prompt=9, discarded=10)
    assert await log.ledger.take_unreported(rid, Role.ANSWER) == TokenCounts()


async def test_a_writer_of_an_earlier_trial_tells_the_owner_nothing(log: RequestLog) -> None:
    rid = uuid4().hex
    old = await log.streams.begin(rid, Role.ANSWER, 1, "token", trial=0)
    await old.append("ab", [1, 2], prompt_tokens=5)
    new = await log.streams.begin(rid, Role.ANSWER, 2, "token", trial=1)
    with pytest.raises(Fenced):
        await old.close(Closing("aborted", 5, 9, is_on_span=False))
    assert await new.close(Closing("eos", 4, 0)) == TokenCounts()


async def test_a_writer_that_is_cancelled_in_mid_write_knows_what_landed(log: RequestLog) -> None:
    request_id = uuid4().hex
    writer = await log.streams.begin(request_id, Role.ANSWER, 1, keep="token")
    for _ in range(20):
        write = asyncio.create_task(writer.append("a", [7]))
        await asyncio.sleep(0)
        write.cancel()
        with pytest.raises(asyncio.CancelledError):
            await write
    assert writer.tokens == (await log.streams.read(request_id, Role.ANSWER)).tokens > 0


async def test_a_retried_answer_retains_every_token(log: RequestLog) -> None:
    rid = uuid4().hex
    old = await log.streams.begin(rid, Role.ANSWER, 1, "token")
    await old.append("ab", [1, 2])
    assert (await log.streams.begin(rid, Role.ANSWER, 2, "token")).resumption.tokens == 2


async def test_a_published_end_outlives_a_retry(log: RequestLog) -> None:
    rid = uuid4().hex
    writer = await log.streams.begin(rid, Role.ANSWER, 1, "token")
    await writer.append("ab", [1, 2])
    await writer.close(Closing("eos", 0, 2))
    await log.streams.begin(rid, Role.ANSWER, 2, "token")
    assert (await log.streams.read(rid, Role.ANSWER)).is_complete


async def test_the_stop_flag_refuses_appends_of_its_epoch_and_older_but_not_of_a_newer(log: RequestLog) -> None:
    rid = uuid4().hex
    writer = await log.streams.begin(rid, Role.INSIGHT, 1, "stage")
    await writer.append("a", [1])
    await log.stops.publish(StopSignal(rid, Role.INSIGHT, 1, 123.25))
    with pytest.raises(Stopped) as caught:
        await writer.append("b", [2])
    assert caught.value.decided_at == 123.25
    newer = await log.streams.begin(rid, Role.INSIGHT, 2, "stage")
    await newer.append("c", [3])


async def test_a_stop_reaches_its_listeners_at_once_and_those_that_come_late(log: RequestLog) -> None:
    stop, other = (StopSignal(uuid4().hex, Role.INSIGHT, 1, 1.5) for _ in range(2))
    stops = log.stops.follow(stop.request_id, timedelta(seconds=20))
    hearing = asyncio.ensure_future(anext(stops))
    await log.stops.publish(other)
    await log.stops.publish(stop)
    assert await asyncio.wait_for(hearing, 10) == [stop]
    assert await anext(log.stops.follow(stop.request_id, SHORT)) == [stop]
    assert await anext(log.stops.follow(uuid4().hex, SHORT)) == []


async def test_a_gap_and_a_lost_request_are_refused(log: RequestLog) -> None:
    rid = uuid4().hex
    writer = await log.streams.begin(rid, Role.INSIGHT, 1, "stage")
    await writer.append("a", [1])
    writer.rewind(4, 1)
    with pytest.raises(Lost) as gap:
        await writer.append("b", [2])
    assert gap.value.seq == 1
    assert (await log.streams.read(rid, Role.INSIGHT)).text == "a"
    writer.rewind(1, 1)
    await forget(log, rid)
    with pytest.raises(Lost) as lost:
        await writer.append("b", [2])
    assert lost.value.seq is None


async def test_a_writer_whose_beginning_is_lost_is_not_fenced_off_by_the_one_before_it(log: RequestLog) -> None:
    rid = uuid4().hex
    await log.streams.begin(rid, Role.INSIGHT, 1, "stage")
    writer = await log.streams.begin(rid, Role.INSIGHT, 2, "stage")
    await log._connection.redis.hset(
        f"{{{rid}}}:state", "insight:epoch", 1
    )  # as a replica does that had not heard of it
    with pytest.raises(Lost):
        await writer.append("a", [1])


async def test_a_follower_of_a_lost_stream_starts_over(log: RequestLog) -> None:
    rid = uuid4().hex
    writer = await log.streams.begin(rid, Role.INSIGHT, 1, "stage")
    for i in range(5):
        await writer.append("x", [i], stage=1 if i == 4 else 0)
    following = log.streams.follow_stages(rid, SHORT)
    assert (await anext(following)).stage_ends == {1: 5}
    await forget(log, rid)
    again = await log.streams.begin(rid, Role.INSIGHT, 1, "stage")
    await again.append("y", [1], stage=1)
    async for transcript in following:
        if transcript.stage_ends == {1: 1}:
            break


async def test_stage_waiters_wake_only_on_stage_events(log: RequestLog) -> None:
    rid = uuid4().hex
    writer = await log.streams.begin(rid, Role.INSIGHT, 1, "stage")
    following = log.streams.follow_stages(rid, timedelta(seconds=20))
    seen = asyncio.ensure_future(anext(following))
    for i in range(3):
        await writer.append("x", [i])
    assert not seen.done()
    await writer.append("x", [3], stage=1)
    assert (await seen).stage_ends == {1: 4}
    again = await log.streams.begin(rid, Role.INSIGHT, 2, "stage")
    await again.append("y", [5], stage=2)
    await again.close(Closing("eos", 0, 1))
    while not (await anext(following)).is_complete:
        pass
    read = await log.streams.tail(rid, {"stages": "0-0"}, SHORT)
    assert [(f["kind"], f["tokens"], f["epoch"]) for _, f in read["stages"]] == [
        ("delta", "4", "1"), ("restart", "4", "2"), ("delta", "5", "2"), ("end", "5", "2")
    ]  # fmt: skip


async def test_a_decision_is_published_once(log: RequestLog) -> None:
    rid = uuid4().hex
    for _ in range(2):
        await log.decisions.publish(rid, scored_slot(0), SCORED)
    await log.decisions.publish(rid, scored_slot(1), SCORED)
    news = await log.streams.tail(rid, {"decisions": "0-0"}, SHORT)
    assert [i for i, _ in news["decisions"]] == [f"{scored_slot(stage)}-0" for stage in (0, 1)]


async def test_every_key_expires_and_minutes_after_the_end(log: RequestLog) -> None:
    rid = uuid4().hex
    for role, cached in ((Role.INSIGHT, "stage"), (Role.ANSWER, "token")):
        writer = await log.streams.begin(rid, role, 1, cached)
        await writer.append("a", [1], stage=1 if role is Role.INSIGHT else 0)
    await log.decisions.publish(rid, scored_slot(0), SCORED)
    await log.stops.publish(StopSignal(rid, Role.INSIGHT, 1, 1.5))
    before = await lifetimes(log, rid)
    assert set(before) == {"insight", "stages", "answer", "decisions", "state", "stops"}
    assert all(3600 < seconds <= TTL.total_seconds() for seconds in before.values()), before
    await log.expire_soon(rid)
    after = await lifetimes(log, rid)
    assert set(after) == set(before)
    assert all(0 < seconds <= 600 for seconds in after.values()), after


async def lifetimes(log: RequestLog, request_id: str) -> dict[str, float]:
    """Seconds that each of the request's keys still lives."""
    keys = await log._connection.redis.keys(f"{{{request_id}}}:*")
    return {key.partition(":")[2]: await log._connection.redis.pttl(key) / 1000 for key in keys}


async def test_watchers_hold_a_lease(log: RequestLog) -> None:
    rid = uuid4().hex
    assert not await log.watchers.exist(rid, 100.0)
    await log.watchers.renew(rid, "a", 100.0, timedelta(seconds=5))
    assert await log.watchers.exist(rid, 104.0)
    assert not await log.watchers.exist(rid, 106.0)
    await log.watchers.remove(rid, "a")
    assert not await log.watchers.exist(rid, 104.0)


async def test_a_dead_redis_is_unavailable_at_once_and_nothing_is_retried() -> None:
    log = RequestLog("redis://127.0.0.1:1/0", timedelta(seconds=30))
    with pytest.raises(Unavailable) as caught:
        await log.ping()
    assert caught.value.reason == "REQUEST_LOG_UNAVAILABLE"
    await log.close()
