"""Redis has run a write, and its reply is lost: the writer sends it again, and it counts once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from services.shared.request_log.connection import Role
from services.shared.request_log.log import RequestLog
from services.shared.request_log.streams import Closing
from services.slm_executor.generator import AnswerGenerator
from tandem.method.errors import Unavailable
from tandem.method.profile.profile import load_profile
from tandem.method.request.tasks import GenerationOutcome
from tandem.method.tokens import TokenCounts
from tests.conftest import Hold
from tests.fakes import ScriptedEngine
from tests.integration.lost_replies import Cutter, lossy
from tests.integration.request_logs import open_log
from tests.steps import asked

pytestmark = pytest.mark.asyncio(loop_scope="session")
_AT_ONCE = timedelta(milliseconds=100)
Lossy = tuple[Cutter, RequestLog]


@pytest_asyncio.fixture(loop_scope="session")
async def lossy_log(redis_url: str) -> AsyncIterator[Lossy]:
    async with lossy(redis_url) as (cutter, url), open_log(url) as log:
        yield cutter, log


async def test_a_begin_whose_reply_is_lost_is_not_fenced_off_by_itself(lossy_log: Lossy) -> None:
    cutter, log = lossy_log
    request_id = uuid4().hex
    killed = await log.streams.begin(request_id, Role.INSIGHT, 1, "stage")
    await killed.append("ab", [1, 2], prompt_tokens=5)
    cutter.lose("begin")
    writer = await log.streams.begin(request_id, Role.INSIGHT, 2, "stage")
    assert cutter.has_lost_all
    assert writer.resumption.counts == TokenCounts(prompt=5, discarded=2)
    assert (writer.resumption.previous_epoch, writer.resumption.unreported) == (1, TokenCounts(prompt=5, discarded=2))
    await writer.append("c", [3])
    entries = (await log.streams.tail(request_id, {"insight": "0-0"}, block=_AT_ONCE))["insight"]
    assert [fields["kind"] for _, fields in entries] == ["delta", "restart", "delta"]


async def test_an_append_whose_reply_is_lost_is_one_entry(lossy_log: Lossy) -> None:
    cutter, log = lossy_log
    request_id = uuid4().hex
    writer = await log.streams.begin(request_id, Role.ANSWER, 1, "token")
    cutter.lose("append")
    await writer.append("a", [1], prompt_tokens=5)
    await writer.append("b", [2])
    assert cutter.has_lost_all
    assert (await log.streams.read(request_id, Role.ANSWER)).text == "ab"
    assert await log.ledger.counts(request_id, Role.ANSWER) == TokenCounts(prompt=5, discarded=2)


async def test_a_close_whose_reply_is_lost_counts_its_tokens_once(lossy_log: Lossy) -> None:
    cutter, log = lossy_log
    request_id = uuid4().hex
    writer = await log.streams.begin(request_id, Role.ANSWER, 1, "token")
    await writer.append("a", [1], prompt_tokens=5)
    cutter.lose("close")
    await writer.close(Closing("aborted", prompt=12, generated=4))
    assert cutter.has_lost_all
    after = (await log.streams.begin(request_id, Role.ANSWER, 2, "token")).resumption
    assert (after.counts.prompt, after.counts.discarded, after.tokens) == (12, 3, 1)
    assert after.unreported == TokenCounts()


@pytest.mark.parametrize("is_stopped", [False, True])
async def test_an_entry_that_its_writer_does_not_know_of_is_counted_once(lossy_log: Lossy, is_stopped: bool) -> None:
    cutter, log = lossy_log
    request_id = uuid4().hex
    writer = await log.streams.begin(request_id, Role.ANSWER, 1, "token")
    cutter.lose("append", "append")
    with pytest.raises(Unavailable):
        await writer.append("ab", [1, 2], prompt_tokens=5)
    assert writer.tokens == 0
    await writer.close(Closing("aborted", prompt=5, generated=3, is_stopped=is_stopped))
    assert await log.ledger.counts(request_id, Role.ANSWER) == TokenCounts(prompt=5, discarded=3)


async def test_a_writer_that_does_not_know_whether_it_has_begun_begins_again_under_its_name(lossy_log: Lossy) -> None:
    cutter, log = lossy_log
    request_id, name = uuid4().hex, uuid4().hex
    cutter.lose("begin", "begin")
    with pytest.raises(Unavailable):
        await log.streams.begin(request_id, Role.ANSWER, 1, "token", name=name)
    writer = await log.streams.begin(request_id, Role.ANSWER, 1, "token", name=name)
    cutter.lose("close", "close")
    for _ in range(2):
        try:
            await writer.close(Closing("aborted", prompt=5, generated=3))
        except Unavailable:
            continue
    assert await log.ledger.counts(request_id, Role.ANSWER) == TokenCounts(prompt=5, discarded=3)


async def test_a_text_whose_last_entry_is_missing_has_not_ended(
    lossy_log: Lossy, profiles_folder: Path, hold: Hold
) -> None:
    """Its writer had the whole text, and could close the stream again."""
    cutter, log = lossy_log
    engine = ScriptedEngine("scripted-slm")
    generator = AnswerGenerator(engine, log, load_profile("scripted", (profiles_folder,)))
    task = asked(uuid4().hex, f"[slm=a slm_eos=99 slm_hold=19:{hold}]", "scripted", max_tokens=(20,), epoch=1)
    async with aclosing(generator.generate(*task)) as events:
        await anext(events)
        rest = asyncio.ensure_future(anext(events))
        while (await log.streams.read(task.request_id, Role.ANSWER)).tokens < 19:
            await asyncio.sleep(0.01)
        cutter.lose("append", "append", is_run=False)
        hold.release()
        with pytest.raises(Unavailable):
            await rest
    [done] = [e async for e in generator.generate(*task.but(epoch=2)) if isinstance(e, GenerationOutcome)]
    assert (done.reason, done.text) == ("length", 20 * "a")
    assert done.counts.generated == engine.counters.output_tokens
