"""Both models of a request under a JSON schema: real engines with random weights, a real log."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from uuid import uuid4

import jsonschema
import pytest
import pytest_asyncio

from services.insight_generator.generator import InsightGenerator
from services.models.engine.api import Engine
from services.shared.request_log.connection import Role
from services.shared.request_log.log import RequestLog
from services.slm_executor.generator import AnswerGenerator
from tandem.method.answer import final_answer
from tandem.method.evidence.checks import Repair
from tandem.method.profile.profile import Profile, load_profile
from tandem.method.request.tasks import GenerationOutcome
from tandem.method.tokens import Sampling
from tests.integration.backends import tiny_engine
from tests.integration.request_logs import open_log
from tests.integration.test_engine_schemas import SCHEMA
from tests.steps import Asked, asked

pytestmark = pytest.mark.asyncio(loop_scope="session")


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


def structured(request_id: str, seed: int, *max_tokens: int, stage: int = 0, epoch: int = 1) -> Asked:
    sampling = Sampling(1.5, 1.0, seed)
    return asked(
        request_id, "q?", "scripted", stage=stage, max_tokens=max_tokens, epoch=epoch, sampling=sampling,
        json_schema=json.dumps(SCHEMA),
    )  # fmt: skip


async def outcome(generator: InsightGenerator | AnswerGenerator, task: Asked) -> GenerationOutcome:
    async with aclosing(generator.generate(*task)) as events:
        done = [event async for event in events][-1]
    assert isinstance(done, GenerationOutcome)
    return done


@pytest.mark.parametrize("seed", range(4))
async def test_the_small_model_completes_the_json_text_that_the_large_one_began(
    log: RequestLog, engine: Engine, profile: Profile, seed: int
) -> None:
    request = uuid4().hex
    insight = await outcome(InsightGenerator(engine, log, profile), structured(request, seed, 8, 16))
    answer = await outcome(AnswerGenerator(engine, log, profile), structured(request, seed, 600, stage=1))
    assert answer.continued_from == await log.streams.insight(request, 1)
    assert insight.text.startswith(answer.continued_from)
    jsonschema.validate(json.loads(answer.continued_from + answer.text), SCHEMA)
    jsonschema.validate(json.loads(final_answer(answer.text, "json", answer.continued_from)), SCHEMA)


async def test_after_an_insight_in_words_the_answer_is_a_whole_json_text(
    log: RequestLog, engine: Engine, profile: Profile
) -> None:
    request = uuid4().hex
    writer = await log.streams.begin(request, Role.INSIGHT, 1, "stage")
    await writer.append("The lamp is", (1, 2, 3), 1, 5)
    answer = await outcome(AnswerGenerator(engine, log, profile), structured(request, 1, 600, stage=1))
    assert answer.continued_from == ""
    jsonschema.validate(json.loads(answer.text), SCHEMA)


async def test_an_engine_that_cannot_go_on_writes_a_whole_json_text(
    log: RequestLog, engine: Engine, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "continues_json", False)
    request = uuid4().hex
    await outcome(InsightGenerator(engine, log, profile), structured(request, 2, 8, 16))
    answer = await outcome(AnswerGenerator(engine, log, profile), structured(request, 2, 600, stage=1))
    assert answer.continued_from == ""
    jsonschema.validate(json.loads(answer.text), SCHEMA)


async def test_an_answer_that_was_cut_off_is_resumed_under_its_schema(
    log: RequestLog, engine: Engine, profile: Profile
) -> None:
    request = uuid4().hex
    generator = AnswerGenerator(engine, log, profile)
    whole = await outcome(generator, structured(uuid4().hex, 3, 600))
    ids = engine.tokenizer.encode(whole.text)
    begun = engine.tokenizer.decode(ids[:9])
    writer = await log.streams.begin(request, Role.ANSWER, 1, "token")
    await writer.append(begun, tuple(ids[:9]), 0, 5)
    answer = await outcome(generator, structured(request, 4, 600, epoch=2))
    assert answer.text.startswith(begun)
    jsonschema.validate(json.loads(answer.text), SCHEMA)


async def test_a_correction_is_held_to_the_schema_too(log: RequestLog, engine: Engine, profile: Profile) -> None:
    task = structured(uuid4().hex, 5, 600)
    repaired = task.but(repair=Repair("{}", "'name' is a required property"), trial=2)
    jsonschema.validate(json.loads((await outcome(AnswerGenerator(engine, log, profile), repaired)).text), SCHEMA)


async def test_a_brief_is_written_in_words(log: RequestLog, engine: Engine, profiles_folder: Path) -> None:
    brief = load_profile("scripted-brief", (profiles_folder,))
    insight = await outcome(InsightGenerator(engine, log, brief), structured(uuid4().hex, 6, 8, 16))
    with pytest.raises(json.JSONDecodeError):
        json.loads(insight.text)
    assert not insight.text.lstrip().startswith("{")
