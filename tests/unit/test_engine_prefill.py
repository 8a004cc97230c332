"""Prefill in our engine: chunks, several prompts in a step, prefixes that are computed once, and prefill ahead."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from services.models.engine.api import EngineLoad, FinishReason, GenerationRequest
from services.models.engine.batch import Completion, generate
from services.models.engine.loop.scheduler import ScheduledChunk
from services.models.engine.settings import EngineSettings
from services.models.engine.torch_engine.engine import TransformersEngine
from tests.tiny_model import random_prompt, reference, write_tiny_model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny"))


@contextmanager
def running(checkpoint: Path, **settings: Any) -> Iterator[TransformersEngine]:
    engine = TransformersEngine(EngineSettings(checkpoint, "tiny", dtype="float32", **settings))
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()


@pytest.fixture(scope="module")
def engine(checkpoint: Path) -> Iterator[TransformersEngine]:
    with running(checkpoint, max_batch=4, max_waiting=8, prefill_chunk=16) as engine:
        yield engine


async def generate_at_once(engine: TransformersEngine, works: list[GenerationRequest]) -> list[Completion]:
    """All of them are in the queue before the engine takes the first."""
    with engine._core.queue.changed:
        tasks = [asyncio.ensure_future(generate(engine, work)) for work in works]
        await asyncio.sleep(0)
    return await asyncio.gather(*tasks)


async def test_a_prompt_with_the_prefix_of_a_running_one_copies_it(
    engine: TransformersEngine, checkpoint: Path
) -> None:
    long, short = random_prompt(5, 60), random_prompt(5, 60)[:33]
    other = (*long[:40], *random_prompt(6, 12))
    expected = {ids: reference(checkpoint, ids, 12) for ids in (long, short, other)}
    first = engine.generate(GenerationRequest("first", long, 400))
    generated = [(await anext(first)).id for _ in range(12)]
    for name, ids, shared in (("prefix", short, 32), ("branch", other, 40)):
        done = await generate(engine, GenerationRequest(name, ids, 12))
        assert list(done.ids) == expected[ids]
        assert (done.usage.cached, done.usage.prompt) == (shared, len(ids) - shared)
    await first.aclose()
    assert generated == expected[long]


async def test_a_prompt_that_was_prefilled_ahead_is_not_computed_again(
    engine: TransformersEngine, checkpoint: Path
) -> None:
    whole = random_prompt(11, 90)
    ahead = [await generate(engine, GenerationRequest(f"ahead{i}", whole[:n], 0)) for i, n in enumerate((40, 70, 70))]
    assert [(a.usage.prompt, a.usage.cached, a.ids) for a in ahead] == [(40, 0, ()), (30, 40, ()), (0, 70, ())]
    after = await generate(engine, GenerationRequest("after", whole, 12))
    assert list(after.ids) == reference(checkpoint, whole, 12)
    assert (after.usage.prompt, after.usage.cached) == (20, 70)
    same = await generate(engine, GenerationRequest("same", whole[:70], 12))
    assert list(same.ids) == reference(checkpoint, whole[:70], 12)
    assert (same.usage.prompt, same.usage.cached) == (1, 69)


async def test_prefill_ahead_waits_for_every_other_request_and_an_abort_caches_what_was_computed(
    engine: TransformersEngine, checkpoint: Path
) -> None:
    blockers = [engine.generate(GenerationRequest(f"busy{i}", random_prompt(i, 8), 1500)) for i in range(3)]
    for blocker in blockers:
        await anext(blocker)
    long = random_prompt(12, 1200)
    ahead = asyncio.create_task(generate(engine, GenerationRequest("ahead", long, 0)))
    while engine.load != EngineLoad(running=4, waiting=0):  # it has begun: no other request waits for prefill
        await asyncio.sleep(0)
    behind = asyncio.create_task(generate(engine, GenerationRequest("behind", random_prompt(13, 30), 0)))
    await asyncio.sleep(0)
    assert engine.abort("ahead")
    aborted = await ahead
    assert aborted.reason is FinishReason.ABORTED
    assert 0 < aborted.usage.prompt < 1200
    await behind
    cached = aborted.usage.prompt
    done = await generate(engine, GenerationRequest("real", long[: cached + 5], 4))
    assert done.usage.cached == cached
    assert list(done.ids) == reference(checkpoint, long[: cached + 5], 4)
    for blocker in blockers:
        await blocker.aclose()


async def test_a_long_prompt_is_prefilled_while_others_end(engine: TransformersEngine, checkpoint: Path) -> None:
    short = [GenerationRequest(f"short{i}", random_prompt(i, 8), 2 + 3 * i) for i in range(3)]
    works = [*short, GenerationRequest("long", random_prompt(20, 1200), 8)]
    ends = await asyncio.gather(*(generate(engine, work) for work in works))
    assert [list(end.ids) for end in ends] == [reference(checkpoint, w.prompt_ids, w.max_new_tokens) for w in works]


async def test_a_prompt_without_room_in_the_step_waits_while_others_end(checkpoint: Path) -> None:
    works = [
        GenerationRequest("a", random_prompt(40, 8), 1),
        GenerationRequest("b", random_prompt(41, 8), 1),
        GenerationRequest("c", random_prompt(42, 12), 4),
    ]
    with running(checkpoint, max_batch=8, prefill_chunk=16) as engine:
        ends = await generate_at_once(engine, works)
    assert [list(end.ids) for end in ends] == [reference(checkpoint, w.prompt_ids, w.max_new_tokens) for w in works]


async def test_waiting_prompts_share_a_pass_but_a_common_prefix_is_computed_once(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [random_prompt(30, 20), random_prompt(31, 24), random_prompt(31, 30), random_prompt(32, 60)]
    passes: list[list[int]] = []
    with running(checkpoint, max_batch=8, prefill_chunk=64) as engine:
        run = engine._core.runner.run

        def recorded(chunks: list[ScheduledChunk]) -> list[int]:
            passes.append([chunk.length for chunk in chunks])
            return run(chunks)

        monkeypatch.setattr(engine._core.runner, "run", recorded)
        works = [GenerationRequest(f"{i}", ids, 3) for i, ids in enumerate(prompts)]
        ends = await generate_at_once(engine, works)
    assert [list(end.ids) for end in ends] == [reference(checkpoint, ids, 3) for ids in prompts]
    assert passes[:3] == [[20, 24], [1, 1, 6], [1, 1, 1, 60]]
    assert [end.usage.cached for end in ends] == [0, 0, 24, 0]
