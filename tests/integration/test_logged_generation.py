"""One attempt into a real log: when it ends, and how its tokens are counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from services.insight_generator.mentor import InsightDone, InsightTask, Mentor, StageDone
from services.request_log.log import RequestLog, Role, Stop
from services.slm_executor.intern import AnswerDone, AnswerTask, Intern
from tandem.method.errors import Fenced
from tandem.method.profile import load_profile
from tests.fakes import ScriptedEngine
from tests.integration.asking import forget

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def log(redis_url: str) -> AsyncIterator[RequestLog]:
    log = RequestLog(redis_url, timedelta(hours=2))
    yield log
    await log.close()


@pytest.fixture
def mentor(log: RequestLog, profiles_folder: Path) -> tuple[Mentor, ScriptedEngine]:
    engine = ScriptedEngine("scripted-llm")
    return Mentor(engine, log, load_profile("scripted", (profiles_folder,))), engine


def task(question: str, epoch: int = 1, request_id: str = "") -> InsightTask:
    return InsightTask(request_id or uuid4().hex, epoch, question, (16, 32, 48))


async def test_a_caller_that_leaves_before_the_first_token_aborts_the_sequence(
    mentor: tuple[Mentor, ScriptedEngine],
) -> None:
    writer, engine = mentor
    events = writer.write(task("[ms=5]"))
    await anext(events)  # resumed
    first = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await events.aclose()
    assert engine.running == []
    assert engine.counters.output_tokens < 10


async def test_the_stop_flag_alone_ends_an_attempt_within_a_token(
    log: RequestLog, mentor: tuple[Mentor, ScriptedEngine]
) -> None:
    writer, engine = mentor
    work, done = task("[ms=10]"), None
    async with aclosing(writer.write(work)) as events:
        async for event in events:
            if isinstance(event, StageDone) and event.stage == 1:
                at_stop = engine.counters.output_tokens
                await log.request_stop(Stop(work.request_id, Role.INSIGHT, 1, 0.0))
            done = event
    assert isinstance(done, InsightDone)
    assert done.attempt.reason == "aborted"
    assert engine.counters.output_tokens - at_stop <= 2
    assert done.attempt.overrun_tokens == engine.counters.output_tokens  # decided at time 0: all came later
    assert done.attempt.output_tokens == 0


async def test_every_token_is_in_one_state_after_an_abort(
    log: RequestLog, mentor: tuple[Mentor, ScriptedEngine]
) -> None:
    writer, engine = mentor
    work, done = task("[ms=5]"), None
    async with aclosing(writer.write(work)) as events:
        async for event in events:
            if isinstance(event, StageDone):
                assert writer.running.stop(Stop(work.request_id, Role.INSIGHT, 1, time.time()))
            done = event
    assert isinstance(done, InsightDone)
    attempt = done.attempt
    assert attempt.output_tokens + attempt.overrun_tokens + attempt.discarded_tokens == engine.counters.output_tokens


async def test_a_stop_for_an_older_epoch_leaves_a_newer_attempt_alone(mentor: tuple[Mentor, ScriptedEngine]) -> None:
    writer, _ = mentor
    work, done = task("[ms=2 llm=ab]", epoch=2), None
    async for event in writer.write(work):
        if isinstance(event, StageDone) and event.stage == 1:
            assert not writer.running.stop(Stop(work.request_id, Role.INSIGHT, 1, 0.0))
        done = event
    assert isinstance(done, InsightDone)
    assert (done.attempt.reason, done.tokens) == ("length", 48)


async def test_a_fenced_attempt_ends(log: RequestLog, mentor: tuple[Mentor, ScriptedEngine]) -> None:
    writer, engine = mentor
    work = task("[ms=5]")

    async def read() -> None:
        async for event in writer.write(work):
            if isinstance(event, StageDone):
                await log.begin(work.request_id, Role.INSIGHT, 2, "stage")

    with pytest.raises(Fenced):
        await read()
    assert engine.running == []


async def test_an_insight_that_redis_lost_is_written_again(
    log: RequestLog, mentor: tuple[Mentor, ScriptedEngine]
) -> None:
    writer, _ = mentor
    work, done = task("[ms=3 llm=abc]"), None
    async for event in writer.write(work):
        if isinstance(event, StageDone) and event.stage == 2:
            await forget(log, work.request_id)
        done = event
    assert isinstance(done, InsightDone)
    seen = await log.read(work.request_id, Role.INSIGHT)
    assert seen.text == done.text == "abc" * 16
    assert seen.stage_ends == {1: 16, 2: 32, 3: 48}


async def test_a_retried_answer_that_was_complete_is_not_generated_again(
    log: RequestLog, profiles_folder: Path
) -> None:
    engine = ScriptedEngine("scripted-slm")
    intern = Intern(engine, log, load_profile("scripted", (profiles_folder,)))
    request_id, texts = uuid4().hex, []
    for epoch in (1, 2):
        async for event in intern.answer(AnswerTask(request_id, epoch, "[slm_eos=9]", 0, 64)):
            if isinstance(event, AnswerDone):
                texts.append((event.text, event.attempt.output_tokens))
    assert texts[0] == texts[1]
    assert engine.counters.output_tokens == 9
