"""An attempt that goes on after any token of another one writes the text that one attempt alone would have written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from services.insight_generator.generator import InsightGenerator
from services.models.engine.api import Engine, Finished, GenerationRequest, Stops, Token
from services.shared.request_log.connection import Role
from services.shared.request_log.log import RequestLog
from services.shared.request_log.stops import StopSignal
from services.slm_executor.generator import AnswerGenerator
from tandem.method.profile.profile import Profile, load_profile
from tandem.method.request.prompts import answer_prompt
from tandem.method.request.tasks import GenerationOutcome
from tests.integration.backends import tiny_engine
from tests.integration.request_logs import open_log
from tests.steps import Asked, asked, asks

pytestmark = pytest.mark.asyncio(loop_scope="session")
MOST = 48


@pytest_asyncio.fixture(loop_scope="session")
async def log(redis_url: str) -> AsyncIterator[RequestLog]:
    async with open_log(redis_url) as log:
        yield log


@pytest.fixture(scope="module")
def engine(checkpoint: Path) -> Iterator[Engine]:
    with tiny_engine(checkpoint) as engine:
        yield engine


@pytest.fixture
def profile(profiles_folder: Path) -> Profile:
    return load_profile("scripted", (profiles_folder,))


def work(request_id: str, *strings: str, epoch: int = 1) -> Asked:
    return asked(request_id, "why?", "scripted", max_tokens=(MOST,), epoch=epoch, stop_strings=list(strings))


async def generated(engine: Engine, profile: Profile, *strings: str, most: int = MOST) -> tuple[list[Token], Finished]:
    """What the engine itself makes of the answer."""
    ids = answer_prompt(profile, asks("why?")).encoded(engine.tokenizer).ids
    request = GenerationRequest(uuid4().hex, ids, most, stops=Stops(strings))
    *tokens, end = [item async for item in engine.generate(request)]
    assert isinstance(end, Finished)
    return [token for token in tokens if isinstance(token, Token)], end


async def outcome(generator: AnswerGenerator | InsightGenerator, task: Asked) -> GenerationOutcome:
    async with aclosing(generator.generate(*task)) as events:
        done = [event async for event in events][-1]
    assert isinstance(done, GenerationOutcome)
    return done


def ends_of(text: str) -> list[tuple[str, ...]]:
    """Strings that are complete near the end of the text, in its middle, at once, and never."""
    start = next(i for i in range(12, len(text) - 9) if text[i : i + 6].isprintable())
    string = text[start : start + 6]
    return [(string,), (string + "~~", string), (text[1:3],), (string + "~~",), (text[-3:] + "~",)]


@pytest.mark.parametrize("case", range(5), ids=["middle", "two", "early", "never", "held-to-the-cap"])
async def test_an_answer_that_died_after_any_token_ends_as_it_would_have(
    log: RequestLog, engine: Engine, profile: Profile, case: int
) -> None:
    plain, end = await generated(engine, profile)
    strings = ends_of("".join(token.text for token in plain) + end.text)[case]
    generator = AnswerGenerator(engine, log, profile)
    whole = await outcome(generator, work(uuid4().hex, *strings))
    tokens, _ = await generated(engine, profile, *strings)
    assert not any(string in whole.text for string in strings)
    assert whole.counts.completion == len(tokens)
    for number in range(1, len(tokens) + 1):
        request_id, before = uuid4().hex, engine.counters.output_tokens
        writer = await log.streams.begin(request_id, Role.ANSWER, 1, "token")
        logged = tokens[:number]
        await writer.append("".join(t.text for t in logged), [t.id for t in logged], 0, 5)
        again = await outcome(generator, work(request_id, *strings, epoch=2))
        assert (again.text, again.reason, again.counts.completion) == (whole.text, whole.reason, len(tokens)), number
        assert engine.counters.output_tokens - before == len(tokens) - number


async def test_an_aborted_attempt_leaves_what_was_held_back_to_the_next(
    log: RequestLog, engine: Engine, profile: Profile
) -> None:
    plain, _ = await generated(engine, profile, most=900)
    string = "".join(token.text for token in plain) + "~"
    request_id, generator = uuid4().hex, AnswerGenerator(engine, log, profile)
    before, done = engine.counters.output_tokens, None
    async with aclosing(generator.generate(*work(request_id, string).but(max_tokens=(900,)))) as events:
        await anext(events)
        ending = asyncio.ensure_future(anext(events))
        while engine.counters.output_tokens < before + 3:
            await asyncio.sleep(0.001)
        generator.running.stop(StopSignal(request_id, Role.ANSWER, 1, 0.0))
        done = await ending
    assert isinstance(done, GenerationOutcome)
    assert (done.reason, done.text) == ("aborted", "")
