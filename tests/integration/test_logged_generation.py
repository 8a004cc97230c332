"""One attempt into a real log: when it ends, and how its tokens are counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from services.insight_generator.generator import InsightGenerator
from services.models.engine.api import ApiUnavailable, EngineStopped, Finished, GenerationRequest, Token
from services.models.engine.token_writer import TokenWriter
from services.models.engine.writer import Abilities
from services.models.generation.role_generator import StageWritten
from services.shared.request_log.connection import Role
from services.shared.request_log.log import RequestLog
from services.shared.request_log.stops import StopSignal
from services.slm_executor.generator import AnswerGenerator
from tandem.method.errors import Fenced
from tandem.method.profile.profile import load_profile
from tandem.method.request.tasks import GenerationOutcome
from tandem.method.tokens import TokenCounts
from tests.conftest import Hold
from tests.fakes import ScriptedEngine
from tests.integration.asking import forget
from tests.integration.request_logs import open_log
from tests.steps import Asked, asked

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def log(redis_url: str) -> AsyncIterator[RequestLog]:
    async with open_log(redis_url) as log:
        yield log


@pytest.fixture
def insight(log: RequestLog, profiles_folder: Path) -> tuple[InsightGenerator, ScriptedEngine]:
    engine = ScriptedEngine("scripted-llm")
    return InsightGenerator(engine, log, load_profile("scripted", (profiles_folder,))), engine


def task(question: str, epoch: int = 1, request_id: str = "") -> Asked:
    return asked(request_id or uuid4().hex, question, "scripted", max_tokens=(16, 32, 48), epoch=epoch)


async def test_a_caller_that_leaves_before_the_first_token_aborts_the_sequence(
    insight: tuple[InsightGenerator, ScriptedEngine],
) -> None:
    writer, engine = insight
    events = writer.generate(*task("[ms=5]"))
    await anext(events)  # resumed
    first = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await events.aclose()
    assert engine.running == []
    assert engine.counters.output_tokens < 10


async def test_an_engine_that_fails_leaves_its_tokens_in_the_ledger(
    log: RequestLog, insight: tuple[InsightGenerator, ScriptedEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, engine = insight
    whole = engine.generate

    async def fails(generation: GenerationRequest) -> AsyncGenerator[Token | Finished, None]:
        async with aclosing(whole(generation)) as items:
            async for item in items:
                yield item
                if engine.counters.output_tokens == 20:
                    raise EngineStopped("the engine died")

    monkeypatch.setattr(engine, "generate", fails)
    work = task("[ms=0]")
    with pytest.raises(EngineStopped):
        async for _ in writer.generate(*work):
            pass
    counts = await log.ledger.counts(work.request_id, Role.INSIGHT)
    assert (counts.prompt, counts.discarded) == (engine.counters.input_tokens, 20)
    assert not (await log.streams.read(work.request_id, Role.INSIGHT)).is_complete


async def test_an_api_that_hangs_before_its_first_token_leaves_the_prompt_in_the_ledger_as_an_estimate(
    log: RequestLog, insight: tuple[InsightGenerator, ScriptedEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, engine = insight
    whole, num_attempts = engine.generate, 0

    async def hangs_once(generation: GenerationRequest) -> AsyncGenerator[Token | Finished, None]:
        nonlocal num_attempts
        num_attempts += 1
        if num_attempts == 1:
            error = ApiUnavailable("the API does not answer")
            error.prompt_tokens = 31
            raise error
        async with aclosing(whole(generation)) as items:
            async for item in items:
                yield item

    monkeypatch.setattr(engine, "generate", hangs_once)
    monkeypatch.setattr(TokenWriter, "can", Abilities(exact_usage=False))
    work, done = task("[ms=0 llm_eos=4]"), None
    with pytest.raises(ApiUnavailable):
        async for _ in writer.generate(*work):
            pass
    assert await log.ledger.counts(work.request_id, Role.INSIGHT) == TokenCounts(prompt=31)
    async for event in writer.generate(*work.but(epoch=2)):
        done = event
    assert isinstance(done, GenerationOutcome)
    assert (done.counts.prompt, done.counts.discarded) == (engine.counters.input_tokens + 31, 0)
    assert done.counts.is_estimated


async def test_the_stop_flag_alone_refuses_the_next_write_and_ends_the_attempt(
    log: RequestLog, insight: tuple[InsightGenerator, ScriptedEngine], hold: Hold
) -> None:
    writer, engine = insight
    work, done = task(f"[llm_hold=16:{hold} ms=100]"), None
    async with aclosing(writer.generate(*work)) as events:
        async for event in events:
            if isinstance(event, StageWritten) and event.stage == 1:
                await log.stops.publish(StopSignal(work.request_id, Role.INSIGHT, 1, 0.0))
                hold.release()
            done = event
    assert isinstance(done, GenerationOutcome)
    assert done.reason == "aborted"
    assert (await log.streams.read(work.request_id, Role.INSIGHT)).tokens == 16
    assert engine.counters.output_tokens < 48
    assert done.counts.overrun == engine.counters.output_tokens  # decided at time 0: all came later
    assert done.counts.completion == 0


async def test_every_token_is_in_one_state_after_an_abort(
    log: RequestLog, insight: tuple[InsightGenerator, ScriptedEngine]
) -> None:
    writer, engine = insight
    work, done = task("[ms=5]"), None
    async with aclosing(writer.generate(*work)) as events:
        async for event in events:
            if isinstance(event, StageWritten):
                assert writer.running.stop(StopSignal(work.request_id, Role.INSIGHT, 1, time.time()))
            done = event
    assert isinstance(done, GenerationOutcome)
    assert done.counts.generated == engine.counters.output_tokens


async def test_a_stop_for_an_older_epoch_leaves_a_newer_attempt_alone(
    insight: tuple[InsightGenerator, ScriptedEngine],
) -> None:
    writer, _ = insight
    work, done = task("[ms=2 llm=ab]", epoch=2), None
    async for event in writer.generate(*work):
        if isinstance(event, StageWritten) and event.stage == 1:
            assert not writer.running.stop(StopSignal(work.request_id, Role.INSIGHT, 1, 0.0))
        done = event
    assert isinstance(done, GenerationOutcome)
    assert (done.reason, done.counts.completion) == ("length", 48)


async def test_a_fenced_attempt_ends(log: RequestLog, insight: tuple[InsightGenerator, ScriptedEngine]) -> None:
    writer, engine = insight
    work = task("[ms=5]")

    async def read() -> None:
        async for event in writer.generate(*work):
            if isinstance(event, StageWritten):
                await log.streams.begin(work.request_id, Role.INSIGHT, 2, "stage")

    with pytest.raises(Fenced):
        await read()
    assert engine.running == []


async def test_an_insight_that_redis_lost_is_written_again(
    log: RequestLog, insight: tuple[InsightGenerator, ScriptedEngine]
) -> None:
    writer, _ = insight
    work, done = task("[ms=3 llm=abc]"), None
    async for event in writer.generate(*work):
        if isinstance(event, StageWritten) and event.stage == 2:
            await forget(log, work.request_id)
        done = event
    assert isinstance(done, GenerationOutcome)
    seen = await log.streams.read(work.request_id, Role.INSIGHT)
    assert seen.text == done.text == "abc" * 16
    assert seen.stage_ends == {1: 16, 2: 32, 3: 48}


async def test_a_retried_answer_that_was_complete_is_not_generated_again(
    log: RequestLog, profiles_folder: Path
) -> None:
    engine = ScriptedEngine("scripted-slm")
    generator = AnswerGenerator(engine, log, load_profile("scripted", (profiles_folder,)))
    request_id, texts = uuid4().hex, []
    for epoch in (1, 2):
        async for event in generator.generate(
            *asked(request_id, "[slm_eos=9]", "scripted", max_tokens=(64,), epoch=epoch)
        ):
            if isinstance(event, GenerationOutcome):
                texts.append((event.text, event.counts.completion))
    assert texts[0] == texts[1]
    assert engine.counters.output_tokens == 9


async def lose_the_last(log: RequestLog, request_id: str, role: Role, num_entries: int) -> None:
    """As a replica does that had not received them when it became the primary. Each had one token."""
    redis, state = log._connection.redis, f"{{{request_id}}}:state"
    entries = await redis.xrange(f"{{{request_id}}}:{role}")
    last = await redis.xrange(f"{{{request_id}}}:{role}", max=entries[-num_entries - 1][0])
    await redis.delete(f"{{{request_id}}}:{role}")
    for entry_id, fields in last:
        await redis.xadd(f"{{{request_id}}}:{role}", fields, id=entry_id)
    for name in ("seq", "tokens"):
        await redis.hincrby(state, f"{role}:{name}", -num_entries)


async def test_the_end_of_an_answer_that_a_failover_lost_is_written_again(
    log: RequestLog, profiles_folder: Path, hold: Hold
) -> None:
    engine = ScriptedEngine("scripted-slm")
    generator = AnswerGenerator(engine, log, load_profile("scripted", (profiles_folder,)))
    request_id, role = uuid4().hex, Role.ANSWER
    asking = asked(request_id, f"[slm=abc ms=3 slm_eos=21 slm_hold=12:{hold}]", "scripted", max_tokens=(64,), epoch=1)

    async def read() -> list[object]:
        return [event async for event in generator.generate(*asking)]

    reading = asyncio.create_task(read())
    while (await log.streams.read(request_id, role)).tokens < 12:
        await asyncio.sleep(0.01)
    await lose_the_last(log, request_id, role, 3)
    hold.release()
    done = (await reading)[-1]
    assert isinstance(done, GenerationOutcome)
    seen = await log.streams.read(request_id, role)
    assert (seen.text, seen.is_complete) == (done.text, True)
    assert [int(piece.id.split("-")[0]) for piece in seen.pieces] == list(range(1, len(seen.pieces) + 1))
    counts = await log.ledger.counts(request_id, role)
    assert (counts.prompt, counts.discarded) == (engine.counters.input_tokens, engine.counters.output_tokens)
