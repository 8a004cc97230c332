"""Our engine on a small real model: what it generates, counts and refuses, and how aborts end."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from services.models.engine import SPIN_COUNT
from services.models.engine.api import (
    DuplicateRequest,
    EngineError,
    EngineLoad,
    EngineStopped,
    Finished,
    FinishReason,
    GenerationFailed,
    GenerationRequest,
    PromptTooLong,
    Token,
)
from services.models.engine.batch import Completion, generate, run_all
from services.models.engine.loop.sequence import Sampler
from services.models.engine.settings import EngineSettings
from services.models.engine.torch_engine.engine import Runner, TransformersEngine
from tandem.method.tokens import Sampling
from tandem.paths import REPOSITORY
from tests.tiny_model import random_prompt, reference, write_tiny_model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def started_engine(checkpoint: Path) -> Iterator[TransformersEngine]:
    settings = EngineSettings(checkpoint, "tiny", dtype="float32", max_batch=4, max_waiting=8, prefill_chunk=16)
    engine = TransformersEngine(settings)
    engine.start()
    yield engine
    engine.stop()


@pytest.fixture
async def engine(started_engine: TransformersEngine) -> TransformersEngine:
    """The module's engine when it is idle: what the test before has closed must not move the counters of this one."""
    while started_engine.load != EngineLoad(running=0, waiting=0):
        await asyncio.sleep(0.001)
    return started_engine


async def test_greedy_output_equals_generate_token_for_token_alone_and_in_a_batch(
    engine: TransformersEngine, checkpoint: Path
) -> None:
    prompts = [random_prompt(seed, length) for seed, length in enumerate([3, 17, 40, 65, 9, 33])]
    expected = [reference(checkpoint, ids, 24) for ids in prompts]
    alone = await generate(engine, GenerationRequest("alone", prompts[2], 24))
    assert list(alone.ids) == expected[2]
    batch = await asyncio.gather(
        *(generate(engine, GenerationRequest(f"b{i}", ids, 24)) for i, ids in enumerate(prompts))
    )
    assert [list(completion.ids) for completion in batch] == expected


async def test_a_batch_of_many_is_the_same_as_each_alone(engine: TransformersEngine, checkpoint: Path) -> None:
    generations = [GenerationRequest(f"many{i}", random_prompt(i, 5 + i), 8) for i in range(12)]

    async def named(each: GenerationRequest) -> tuple[str, Completion]:
        return each.request_id, await generate(engine, each)

    done = dict([pair async for pair in run_all(named, generations, width=6)])
    assert {name: list(g.ids) for name, g in done.items()} == {
        g.request_id: reference(checkpoint, g.prompt_ids, 8) for g in generations
    }


async def test_usage_counts_what_was_computed(engine: TransformersEngine) -> None:
    before = engine.counters.input_tokens, engine.counters.output_tokens
    done = await generate(engine, GenerationRequest("usage", random_prompt(1, 21), 10))
    assert done.reason is FinishReason.LENGTH
    assert (done.usage.prompt, done.usage.completion) == (21, len(done.ids)) == (21, 10)
    assert engine.counters.input_tokens - before[0] == 21
    assert engine.counters.output_tokens - before[1] == 10


async def test_eos_ends_the_stream_without_text(checkpoint: Path, tmp_path: Path) -> None:
    ids = random_prompt(1, 12)
    tokens = reference(checkpoint, ids, 8)
    cut = next(i for i, token in enumerate(tokens) if token not in tokens[:i] and i >= 2)
    folder = shutil.copytree(checkpoint, tmp_path / "with-eos")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": tokens[cut]}))
    engine = TransformersEngine(EngineSettings(folder, "tiny", dtype="float32"))
    engine.start()
    try:
        done = await generate(engine, GenerationRequest("eos", ids, 100))
    finally:
        engine.stop()
    assert done.reason is FinishReason.EOS
    assert list(done.ids) == tokens[: cut + 1]
    assert done.text == engine.tokenizer.decode([*ids[-4:], *tokens[:cut]]).removeprefix(
        engine.tokenizer.decode(ids[-4:])
    )


async def test_sampling_follows_its_seed_and_not_the_rest_of_the_batch(engine: TransformersEngine) -> None:
    sampling, ids = Sampling(temperature=1.0, top_p=0.9, seed=7), random_prompt(1, 10)
    first = await generate(engine, GenerationRequest("s1", ids, 16, sampling))
    again, _ = await asyncio.gather(
        generate(engine, GenerationRequest("s2", ids, 16, sampling)),
        generate(
            engine, GenerationRequest("s3", random_prompt(2, 30), 16, Sampling(temperature=1.0, top_p=1.0, seed=3))
        ),
    )
    other = await generate(engine, GenerationRequest("s4", ids, 16, Sampling(temperature=1.0, top_p=0.9, seed=8)))
    assert first.ids == again.ids != other.ids


async def test_a_sequence_whose_next_token_cannot_be_chosen_fails_alone(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = Sampler.draw

    def fail_for_one(self: Sampler, logits: torch.Tensor) -> int:
        if self._sampling.seed == 13:
            raise RuntimeError("probability tensor contains nan")
        return draw(self, logits)

    monkeypatch.setattr(Sampler, "draw", fail_for_one)
    work = [
        GenerationRequest(f"seed{seed}", random_prompt(seed, 10), 30, Sampling(temperature=1.0, seed=seed))
        for seed in (12, 13, 14)
    ]
    before, failed, after = await asyncio.gather(*(generate(engine, w) for w in work), return_exceptions=True)
    assert isinstance(failed, GenerationFailed)
    assert "probability tensor contains nan" in str(failed)
    for done in (before, after):
        assert isinstance(done, Completion)
        assert (len(done.ids), done.reason) == (30, FinishReason.LENGTH)
    assert engine.is_alive
    assert not engine.abort("seed13")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_an_engine_that_dies_ends_its_streams_as_failed(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = TransformersEngine(EngineSettings(checkpoint, "tiny", dtype="float32", max_batch=1))
    engine.start()
    running = engine.generate(GenerationRequest("running", random_prompt(1, 8), 900))
    await anext(running)
    waiting = asyncio.ensure_future(anext(engine.generate(GenerationRequest("waiting", random_prompt(2, 8), 9))))
    await asyncio.sleep(0)

    def die(*_: object) -> None:
        raise MemoryError("out of memory")

    monkeypatch.setattr(Runner, "run", die)
    with pytest.raises(EngineStopped, match="out of memory"):
        [None async for _ in running]
    with pytest.raises(EngineStopped, match="out of memory"):
        await waiting
    engine.stop()
    assert not engine.is_alive


@pytest.mark.parametrize("stage", ["queued", "prefill"])
async def test_an_abort_before_the_first_token_reports_exact_usage(engine: TransformersEngine, stage: str) -> None:
    blockers = []
    if stage == "queued":
        blockers = [engine.generate(GenerationRequest(f"block{i}", random_prompt(i, 8), 1500)) for i in range(4)]
        for blocker in blockers:
            await anext(blocker)
    before = engine.counters.input_tokens
    stream = engine.generate(GenerationRequest(stage, random_prompt(5, 1000 if stage == "prefill" else 20), 900))
    waiting = asyncio.ensure_future(anext(stream))
    while not engine.abort(stage):
        await asyncio.sleep(0)
    item = await waiting
    assert isinstance(item, Finished)
    assert item.reason is FinishReason.ABORTED
    assert item.usage.completion == 0
    assert item.usage.prompt == engine.counters.input_tokens - before < 1000
    assert not engine.abort(stage)
    for blocker in blockers:
        await blocker.aclose()


async def test_an_abort_while_decoding_reports_exact_usage(engine: TransformersEngine) -> None:
    before = engine.counters.output_tokens
    stream = engine.generate(GenerationRequest("decode", random_prompt(5, 20), 900))
    items = [await anext(stream) for _ in range(5)]
    assert engine.abort("decode")
    items += [item async for item in stream]
    finished = items[-1]
    assert isinstance(finished, Finished)
    assert finished.reason is FinishReason.ABORTED
    assert (finished.usage.prompt, finished.usage.completion) == (20, len(items) - 1)
    assert engine.counters.output_tokens - before == len(items) - 1
    assert not engine.abort("decode")


async def test_bad_requests_are_refused_with_the_reason(checkpoint: Path) -> None:
    engine = TransformersEngine(EngineSettings(checkpoint, "tiny", dtype="float32"))
    engine.start()
    with pytest.raises(PromptTooLong, match="2048"):
        await anext(engine.generate(GenerationRequest("long", random_prompt(1, 2000), 100)))
    with pytest.raises(ValueError, match="needs a prompt"):
        await anext(engine.generate(GenerationRequest("empty", (), 5)))
    stream = engine.generate(GenerationRequest("twice", random_prompt(1, 8), 500))
    await anext(stream)
    with pytest.raises(DuplicateRequest, match="twice"):
        await anext(engine.generate(GenerationRequest("twice", random_prompt(1, 8), 5)))
    await stream.aclose()
    engine.stop()


def test_every_engine_error_has_a_reason_of_its_own() -> None:
    kinds = EngineError.__subclasses__()
    assert all("reason" in vars(kind) and vars(kind)["reason"].isupper() for kind in kinds)
    assert len({EngineError.reason, *(kind.reason for kind in kinds)}) == 1 + len(kinds)


async def test_text_is_streamed_in_whole_characters(checkpoint: Path) -> None:
    engine = TransformersEngine(EngineSettings(checkpoint, "tiny", dtype="float32"))
    engine.start()
    texts, ids = [], []
    async for item in engine.generate(GenerationRequest("text", tuple(engine.tokenizer.encode("héllo")), 40)):
        texts.append(item.text)
        if isinstance(item, Token):
            ids.append(item.id)
    engine.stop()
    assert "".join(texts) == engine.tokenizer.decode(ids)


def test_an_engine_computes_with_the_threads_of_its_settings(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[int] = []
    monkeypatch.setattr(Runner, "warm_up", lambda _: found.append(torch.get_num_threads()))
    for threads in (1, 2):
        engine = TransformersEngine(EngineSettings(checkpoint, "tiny", dtype="float32", threads=threads))
        engine.start()
        engine.stop()
    assert found == [1, 2]


SHOW_VARIABLES = """
import os, sys
import services.models.engine
print(os.environ["OMP_WAIT_POLICY"], os.environ["GOMP_SPINCOUNT"], "torch" in sys.modules)
"""


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, f"passive {SPIN_COUNT} False"), ({"GOMP_SPINCOUNT": "7"}, "passive 7 False")],
)
def test_the_package_sets_how_threads_wait_before_torch_is_imported_and_respects_what_is_set(
    given: dict[str, str], expected: str
) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    command = [sys.executable, "-c", SHOW_VARIABLES]
    shown = subprocess.run(command, env=environment | given, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == expected


@pytest.mark.parametrize("file", ["tandem/local/programs.py", "helm/templates/_env.tpl", "deploy/compose.yaml"])
def test_whatever_starts_a_model_process_sets_the_spin_count_of_the_engine(file: str) -> None:
    text = (REPOSITORY / file).read_text()
    assert re.findall(r'GOMP_SPINCOUNT"?(?:, value)?: "(\d+)"', text) == [SPIN_COUNT]
    assert "OMP_WAIT_POLICY" in text
