from __future__ import annotations

import asyncio
import gc
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from services.engine.api import DuplicateRequest, Finished, FinishReason, GenerationRequest, PromptTooLong, Token
from services.engine.batch import generate_batch
from services.engine.ragged import Piece
from services.engine.transformers_engine import EngineSettings, TransformersEngine
from tandem.method.sampling import Sampling
from tandem.paths import REPOSITORY
from tests.tiny_model import write_tiny_model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def engine(checkpoint: Path) -> AsyncIterator[TransformersEngine]:
    engine = TransformersEngine(
        EngineSettings(checkpoint, "tiny", dtype="float32", max_batch=4, max_waiting=8, prefill_chunk=16)
    )
    engine.start()
    yield engine
    engine.stop()


def prompt(seed: int, length: int) -> tuple[int, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(0, 250, (length,), generator=generator).tolist())


async def run(engine: TransformersEngine, generation: GenerationRequest) -> tuple[list[int], Finished]:
    ids: list[int] = []
    async for item in engine.generate(generation):
        if isinstance(item, Finished):
            return ids, item
        ids.append(item.id)
    raise AssertionError("a stream ends with Finished")


def reference(checkpoint: Path, ids: tuple[int, ...], max_new_tokens: int) -> list[int]:
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    output = model.generate(torch.tensor([ids]), max_new_tokens=max_new_tokens, do_sample=False)
    return output[0, len(ids) :].tolist()


async def test_greedy_output_equals_generate_token_for_token_alone_and_in_a_batch(
    engine: TransformersEngine, checkpoint: Path
) -> None:
    prompts = [prompt(seed, length) for seed, length in enumerate([3, 17, 40, 65, 9, 33])]
    expected = [reference(checkpoint, p, 24) for p in prompts]
    alone, _ = await run(engine, GenerationRequest("alone", prompts[2], 24))
    assert alone == expected[2]
    batched = await asyncio.gather(*(run(engine, GenerationRequest(f"b{i}", p, 24)) for i, p in enumerate(prompts)))
    assert [ids for ids, _ in batched] == expected


async def test_usage_counts_what_was_computed(engine: TransformersEngine) -> None:
    before = engine.counters.input_tokens, engine.counters.output_tokens
    ids, finished = await run(engine, GenerationRequest("usage", prompt(1, 21), 10))
    assert finished.reason is FinishReason.LENGTH
    assert (finished.usage.input_tokens, finished.usage.output_tokens) == (21, len(ids)) == (21, 10)
    assert engine.counters.input_tokens - before[0] == 21
    assert engine.counters.output_tokens - before[1] == 10


async def test_eos_ends_the_stream_without_text(checkpoint: Path) -> None:
    ids = prompt(1, 12)
    tokens = reference(checkpoint, ids, 8)
    engine = TransformersEngine(EngineSettings(checkpoint, "tiny", dtype="float32"))
    engine.start()
    try:
        cut = next(i for i, t in enumerate(tokens) if t not in tokens[:i] and i >= 2)
        engine._eos_ids = frozenset([tokens[cut]])
        got, finished = await run(engine, GenerationRequest("eos", ids, 100))
    finally:
        engine.stop()
    assert finished.reason is FinishReason.EOS
    assert got == tokens[: cut + 1]


async def test_sampling_follows_its_seed_and_not_its_neighbours(engine: TransformersEngine) -> None:
    sampling = Sampling(temperature=1.0, top_p=0.9, seed=7)
    first, _ = await run(engine, GenerationRequest("s1", prompt(1, 10), 16, sampling))
    (again, _), _ = await asyncio.gather(
        run(engine, GenerationRequest("s2", prompt(1, 10), 16, sampling)),
        run(engine, GenerationRequest("s3", prompt(2, 30), 16, Sampling(temperature=1.0, seed=3))),
    )
    other, _ = await run(engine, GenerationRequest("s4", prompt(1, 10), 16, Sampling(temperature=1.0, seed=8)))
    assert first == again != other


@pytest.mark.parametrize("stage", ["queued", "prefill", "decode"])
async def test_abort_halts_and_reports_exact_usage(engine: TransformersEngine, stage: str) -> None:
    blockers = []
    if stage == "queued":
        blockers = [engine.generate(GenerationRequest(f"block{i}", prompt(i, 8), 1500)) for i in range(4)]
        for blocker in blockers:
            await anext(blocker)
    before = engine.counters.output_tokens
    stream = engine.generate(GenerationRequest(stage, prompt(5, 1000 if stage == "prefill" else 20), 900))
    made = 0
    if stage == "decode":
        for _ in range(5):
            await anext(stream)
            made += 1
    else:
        waiting = asyncio.ensure_future(anext(stream))
        while not engine.abort(stage):
            await asyncio.sleep(0)
        item = await waiting
        assert isinstance(item, Finished)
        assert item.usage.output_tokens == 0
        assert item.usage.input_tokens < 1000
    if stage == "decode":
        assert engine.abort(stage)
        async for item in stream:
            made += isinstance(item, Token)
        assert isinstance(item, Finished)
        assert (item.usage.input_tokens, item.usage.output_tokens) == (20, made)
        assert engine.counters.output_tokens - before == made
    assert item.reason is FinishReason.ABORTED
    assert not engine.abort(stage)
    for blocker in blockers:
        await blocker.aclose()


async def test_a_hundred_aborts_leak_nothing(engine: TransformersEngine) -> None:
    for i in range(100):
        stream = engine.generate(GenerationRequest(f"leak{i}", prompt(i, 8 + i % 40), 1000))
        if i % 2:
            await anext(stream)
        else:
            task = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            task.cancel()
        await asyncio.gather(stream.aclose(), return_exceptions=True)
    ids, _ = await run(engine, GenerationRequest("last", prompt(1, 8), 4))
    gc.collect()
    assert len(ids) == 4
    assert (engine._by_id, engine._running, engine._prefilling, len(engine._arrived)) == ({}, [], None, 0)


async def test_bad_requests_are_refused_with_the_reason(engine: TransformersEngine) -> None:
    with pytest.raises(PromptTooLong, match="2048"):
        await anext(engine.generate(GenerationRequest("long", prompt(1, 2000), 100)))
    stream = engine.generate(GenerationRequest("twice", prompt(1, 8), 500))
    await anext(stream)
    with pytest.raises(DuplicateRequest, match="twice"):
        await anext(engine.generate(GenerationRequest("twice", prompt(1, 8), 5)))
    await stream.aclose()


async def test_text_is_streamed_whole_characters(engine: TransformersEngine) -> None:
    texts, ids = [], []
    async for item in engine.generate(GenerationRequest("text", tuple(engine.tokenizer.encode("héllo")), 40)):
        texts.append(item.text)
        if isinstance(item, Token):
            ids.append(item.id)
    assert "".join(texts) == engine.tokenizer.decode(ids)


def test_waiting_threads_spin_for_a_moment_only_and_are_bounded() -> None:
    import os

    from services.engine import SPINS  # sets the policy before torch is imported

    assert (os.environ["OMP_WAIT_POLICY"], os.environ["GOMP_SPINCOUNT"]) == ("passive", SPINS)
    for told in ("tandem/local/programs.py", "helm/templates/_env.tpl", "deploy/compose.yaml"):  # before any import
        text = (REPOSITORY / told).read_text()
        assert re.findall(r'GOMP_SPINCOUNT"?(?:, value)?: "(\d+)"', text) == [SPINS], told
    assert torch.get_num_threads() <= 2


async def test_a_prompt_that_begins_like_a_running_one_is_read_from_there(
    engine: TransformersEngine, checkpoint: Path
) -> None:
    long, short = prompt(5, 60), prompt(5, 60)[:33]
    other = (*long[:40], *prompt(6, 12))
    expected = {p: reference(checkpoint, p, 12) for p in (long, short, other)}
    running = asyncio.create_task(run(engine, GenerationRequest("first", long, 400)))
    while len(engine._running) == 0:
        await asyncio.sleep(0.001)
    for name, ids, shared in (("prefix", short, 32), ("branch", other, 40)):
        got, finished = await run(engine, GenerationRequest(name, ids, 12))
        assert got == expected[ids]
        assert (finished.usage.cached_input_tokens, finished.usage.input_tokens) == (shared, len(ids) - shared)
    engine.abort("first")
    assert (await running)[0][:12] == expected[long]


async def test_a_prompt_that_was_read_ahead_is_not_read_again(engine: TransformersEngine, checkpoint: Path) -> None:
    whole = prompt(11, 90)
    read = [await run(engine, GenerationRequest(f"ahead{i}", whole[:n], 0)) for i, n in enumerate((40, 70, 70))]
    assert [(f.usage.input_tokens, f.usage.cached_input_tokens, ids) for ids, f in read] == [
        (40, 0, []), (30, 40, []), (0, 70, []),
    ]  # fmt: skip
    got, finished = await run(engine, GenerationRequest("after", whole, 12))
    assert got == reference(checkpoint, whole, 12)
    assert (finished.usage.input_tokens, finished.usage.cached_input_tokens) == (20, 70)
    again, finished = await run(engine, GenerationRequest("same", whole[:70], 12))
    assert again == reference(checkpoint, whole[:70], 12)
    assert (finished.usage.input_tokens, finished.usage.cached_input_tokens) == (1, 69)


async def test_reading_ahead_waits_for_everybody_else_and_keeps_what_was_read_before_an_abort(
    engine: TransformersEngine, checkpoint: Path
) -> None:
    blockers = [engine.generate(GenerationRequest(f"busy{i}", prompt(i, 8), 1500)) for i in range(3)]
    for blocker in blockers:
        await anext(blocker)
    long = prompt(12, 1200)
    ahead = asyncio.create_task(run(engine, GenerationRequest("ahead", long, 0)))
    while engine._prefilling is None:  # it has begun: nobody else wants to read
        await asyncio.sleep(0)
    behind = asyncio.create_task(run(engine, GenerationRequest("behind", prompt(13, 30), 0)))
    await asyncio.sleep(0)
    assert engine.abort("ahead")
    _, halted = await ahead
    assert halted.reason is FinishReason.ABORTED
    assert 0 < halted.usage.input_tokens < 1200
    await behind
    kept = halted.usage.input_tokens
    got, finished = await run(engine, GenerationRequest("real", long[: kept + 5], 4))
    assert finished.usage.cached_input_tokens == kept
    assert got == reference(checkpoint, long[: kept + 5], 4)
    for blocker in blockers:
        await blocker.aclose()


async def test_a_long_prompt_is_read_on_while_those_before_it_end(engine: TransformersEngine, checkpoint: Path) -> None:
    short = [GenerationRequest(f"short{i}", prompt(i, 8), 2 + 3 * i) for i in range(3)]
    long = GenerationRequest("long", prompt(20, 1200), 8)
    ends = await asyncio.gather(*(run(engine, generation) for generation in (*short, long)))
    assert [ids for ids, _ in ends] == [
        reference(checkpoint, generation.prompt_ids, generation.max_new_tokens) for generation in (*short, long)
    ]


async def test_a_prompt_for_which_a_pass_has_no_room_waits_while_those_before_it_end(checkpoint: Path) -> None:
    engine = TransformersEngine(EngineSettings(checkpoint, "tiny", dtype="float32", max_batch=8, prefill_chunk=16))
    engine.start()
    works = [
        GenerationRequest("a", prompt(40, 8), 1),
        GenerationRequest("b", prompt(41, 8), 1),
        GenerationRequest("c", prompt(42, 12), 4),
    ]
    with engine._wake:  # all come before the engine looks
        runs = [asyncio.ensure_future(run(engine, work)) for work in works]
        await asyncio.sleep(0)
    ends = await asyncio.gather(*runs)
    engine.stop()
    assert [ids for ids, _ in ends] == [reference(checkpoint, w.prompt_ids, w.max_new_tokens) for w in works]


async def test_prompts_that_wait_together_are_read_in_one_pass_but_what_they_share_only_once(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = TransformersEngine(EngineSettings(checkpoint, "tiny", dtype="float32", max_batch=8, prefill_chunk=64))
    passes: list[list[int]] = []
    compute = engine._compute

    def recorded(pieces: list[Piece], *rest: list[int]) -> torch.Tensor:
        passes.append([piece.length for piece in pieces])
        return compute(pieces, *rest)

    engine.start()
    monkeypatch.setattr(engine, "_compute", recorded)
    prompts = [prompt(30, 20), prompt(31, 24), prompt(31, 30), prompt(32, 60)]
    with engine._wake:  # all come before the engine looks
        runs = [asyncio.ensure_future(run(engine, GenerationRequest(f"{i}", ids, 3))) for i, ids in enumerate(prompts)]
        await asyncio.sleep(0)
    ends = await asyncio.gather(*runs)
    engine.stop()
    assert [ids for ids, _ in ends] == [reference(checkpoint, ids, 3) for ids in prompts]
    assert passes[:3] == [[20, 24], [1, 1, 6], [1, 1, 1, 60]]
    assert [end.usage.cached_input_tokens for _, end in ends] == [0, 0, 24, 0]


async def test_a_batch_of_many_is_the_same_as_each_alone(engine: TransformersEngine, checkpoint: Path) -> None:
    generations = [GenerationRequest(f"many{i}", prompt(i, 5 + i), 8) for i in range(12)]
    done = {g.request_id: g async for g in generate_batch(engine, generations, width=6)}
    assert {name: list(g.ids) for name, g in done.items()} == {
        g.request_id: reference(checkpoint, g.prompt_ids, 8) for g in generations
    }
