"""An abort ends a pass of llama.cpp in its middle, unless another request needs it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.models.engine.api import Finished, GenerationRequest, Token
from services.models.engine.batch import generate
from services.models.engine.llamacpp.context import LlamaContext, LlamaInterrupt
from services.models.engine.llamacpp.engine import LlamaCppEngine
from services.models.engine.settings import EngineSettings
from tests.tiny_gguf import write_tiny_gguf
from tests.tiny_model import random_prompt, write_tiny_model

LONG = 2000  # tokens of one pass, which takes a while even on a tiny model


@contextmanager
def running(empty: Path) -> Iterator[LlamaCppEngine]:
    """An engine with a tiny model, which is written into an empty folder."""
    folder = write_tiny_model(empty, head_dim=32)
    write_tiny_gguf(folder)
    engine = LlamaCppEngine(EngineSettings(folder, "tiny", max_batch=4, prefill_chunk=LONG, kv_cache_tokens=4 * LONG))
    engine.start()
    yield engine
    engine.stop()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaCppEngine]:
    with running(tmp_path_factory.mktemp("tiny")) as engine:
        yield engine


def long_request(key: str, seed: int = 1) -> GenerationRequest:
    return GenerationRequest(key, random_prompt(seed, LONG - 10), 5)


async def begun(engine: LlamaCppEngine, request: GenerationRequest) -> asyncio.Future[Token | Finished]:
    """The first item of a request that runs: its only pass is under way."""
    item = asyncio.ensure_future(anext(engine.generate(request)))
    await is_under_way(engine)
    return item


async def is_under_way(engine: LlamaCppEngine) -> None:
    while not engine._core._under_way:
        await asyncio.sleep(0.001)


async def test_an_abort_ends_a_pass_in_its_middle_and_the_next_request_is_answered_as_before(
    engine: LlamaCppEngine, caplog: pytest.LogCaptureFixture
) -> None:
    before = await generate(engine, long_request("before"))
    with caplog.at_level(logging.INFO):
        for number in range(20):  # on a busy machine a pass may end before its abort comes
            computed = engine.counters.input_tokens
            item = await begun(engine, long_request(f"aborted-{number}", seed=100 + number))
            engine.abort(f"aborted-{number}")
            end = await item
            if isinstance(end, Finished):
                break
    assert isinstance(end, Finished)
    assert (end.usage.prompt, end.usage.completion) == (0, 0)  # nothing of the pass counts
    assert engine.counters.input_tokens == computed
    assert (await generate(engine, long_request("after"))).ids == before.ids
    said = [record for record in caplog.records if record.name.startswith("services.models.engine")]
    assert said == []  # an abort is no error of llama.cpp


async def test_an_abort_while_the_context_grows_ends_the_pass_that_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.models.engine.llamacpp.context._FIRST_TOKENS", 64)
    with running(tmp_path) as engine:
        context = engine._runner._context
        make = context._make

        def make_after_an_abort(tokens: int, interrupt: LlamaInterrupt | None) -> LlamaContext:
            assert engine.abort("aborted")
            return make(tokens, interrupt)

        monkeypatch.setattr(context, "_make", make_after_an_abort)
        end = await anext(engine.generate(long_request("aborted")))
        assert isinstance(end, Finished)
        assert (end.usage.prompt, engine.counters.input_tokens) == (0, 0)


async def test_leaving_a_stream_ends_its_pass_too(engine: LlamaCppEngine) -> None:
    computed = engine.counters.input_tokens
    stream: AsyncGenerator[Token | Finished, None] = engine.generate(long_request("left", seed=3))
    item = asyncio.ensure_future(anext(stream))
    await is_under_way(engine)
    item.cancel()
    await asyncio.wait({item})
    while engine._core._under_way:
        await asyncio.sleep(0.001)
    assert engine.counters.input_tokens == computed


async def test_a_pass_that_another_request_needs_goes_on(engine: LlamaCppEngine) -> None:
    alone = await generate(engine, GenerationRequest("alone", random_prompt(5, 40), 60))
    kept = asyncio.ensure_future(generate(engine, GenerationRequest("kept", random_prompt(5, 40), 60)))
    for number in range(20):
        stream = engine.generate(GenerationRequest(f"a{number}", random_prompt(6, 30), 60))
        await anext(stream)
        assert engine.abort(f"a{number}")
        await stream.aclose()
    assert (await kept).ids == alone.ids
