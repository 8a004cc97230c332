"""What is llama.cpp's own in its engine; what it has in common with the others is in test_engine_conformance.py."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from services.models.engine.api import (
    EngineLoad,
    Finished,
    FinishReason,
    GenerationRequest,
    PromptScores,
    PromptTooLong,
    Token,
)
from services.models.engine.batch import Completion, generate
from services.models.engine.llamacpp import context, library, vocabulary
from services.models.engine.llamacpp.engine import LlamaCppEngine
from services.models.engine.llamacpp.model import LlamaModel
from services.models.engine.settings import EngineSettings
from services.models.engine.tokenizer import ChatTokenizer, FileTokenizer
from tests.tiny_gguf import write_tiny_gguf
from tests.tiny_model import random_prompt, write_tiny_model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_tiny_model(tmp_path_factory.mktemp("tiny"), head_dim=32)
    write_tiny_gguf(folder)
    return folder


def started(checkpoint: Path, **settings: Any) -> LlamaCppEngine:
    limits = {"max_batch": 4, "max_waiting": 32, "prefill_chunk": 16} | settings
    engine = LlamaCppEngine(EngineSettings(checkpoint, "tiny", **limits))
    engine.start()
    return engine


@pytest.fixture(scope="module")
def module_engine(checkpoint: Path) -> Iterator[LlamaCppEngine]:
    engine = started(checkpoint, kv_cache_tokens=1024)
    yield engine
    engine.stop()


@pytest.fixture
async def engine(module_engine: LlamaCppEngine) -> LlamaCppEngine:
    while module_engine.load != EngineLoad(running=0, waiting=0):
        await asyncio.sleep(0.001)
    return module_engine


async def test_a_prompt_that_begins_as_a_running_one_computes_only_the_rest(engine: LlamaCppEngine) -> None:
    common = random_prompt(1, 60)
    alone = await generate(engine, GenerationRequest("alone", (*common, 7, 8), 20))
    first = engine.generate(GenerationRequest("first", (*common, 5), 200))
    await anext(first)
    second = await generate(engine, GenerationRequest("second", (*common, 7, 8), 20))
    await first.aclose()
    assert (second.usage.cached, second.usage.prompt, second.ids) == (60, 2, alone.ids)


async def test_a_second_start_reads_no_vocabulary_and_writes_and_ends_as_the_first(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(checkpoint, tmp_path / "model")
    for file in folder.glob("*.vocabulary.json"):
        file.unlink()
    request = GenerationRequest("same", random_prompt(7, 30), 20)
    first = started(folder)
    monkeypatch.setattr(LlamaModel, "_read_vocabulary", None)
    second = started(folder)
    try:
        assert first._core.eos_ids == second._core.eos_ids != frozenset()
        assert (await generate(first, request)).ids == (await generate(second, request)).ids
    finally:
        first.stop()
        second.stop()


def test_what_is_known_of_a_vocabulary_is_of_one_file_in_one_build(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Path(shutil.copy(checkpoint / "tiny.gguf", tmp_path))
    known = vocabulary.Vocabulary("qwen2", 64, [1, 2])
    vocabulary.write(file, known)
    assert vocabulary.read(file) == known
    with monkeypatch.context() as patch:
        patch.setattr(vocabulary, "BUILD", "another")
        assert vocabulary.read(file) is None
    file.write_bytes(file.read_bytes() + b"more")
    assert vocabulary.read(file) is None
    assert vocabulary.read(tmp_path / "nowhere.gguf") is None


async def test_what_was_prefilled_ahead_is_not_computed_again(engine: LlamaCppEngine) -> None:
    prompt = random_prompt(2, 90)
    plain = await generate(engine, GenerationRequest("plain", prompt, 12))
    ahead = await generate(engine, GenerationRequest("ahead", prompt[:80], 0))
    after = await generate(engine, GenerationRequest("after", prompt, 12))
    assert (ahead.usage.prompt, after.usage.cached, after.usage.prompt, after.ids) == (80, 80, 10, plain.ids)


async def test_an_abort_in_a_prompt_ends_it_within_a_step_and_counts_what_was_computed(engine: LlamaCppEngine) -> None:
    before = engine.counters.input_tokens
    stream = engine.generate(GenerationRequest("prefill", random_prompt(3, 900), 20))
    item = asyncio.ensure_future(anext(stream))
    while engine.counters.input_tokens == before:
        await asyncio.sleep(0)
    assert engine.abort("prefill")
    end = await item
    assert isinstance(end, Finished)
    assert (end.reason, end.usage.completion) == (FinishReason.ABORTED, 0)
    assert 0 < end.usage.prompt < 900
    assert end.usage.prompt % 16 == 0
    assert end.usage.prompt == engine.counters.input_tokens - before


async def test_more_requests_than_the_cache_holds_wait_and_end_as_they_would_alone(engine: LlamaCppEngine) -> None:
    """1,024 tokens of cache; rows of many lengths end in another order than they began, so free cells lie scattered."""
    lengths = [30 + 37 * (i % 7) for i in range(12)]
    works = [GenerationRequest(f"w{i}", random_prompt(10 + i, n), 5 + 23 * (i % 5)) for i, n in enumerate(lengths)]
    alone = [await generate(engine, work) for work in works]
    ahead = [GenerationRequest(f"p{i}", work.prompt_ids[:25], 0) for i, work in enumerate(works)]
    done = await asyncio.gather(*(generate(engine, work) for work in [*ahead, *works]))
    assert engine.is_alive
    assert [one.ids for one in done[len(ahead) :]] == [one.ids for one in alone]
    with pytest.raises(PromptTooLong, match="1024"):
        await generate(engine, GenerationRequest("long", random_prompt(5, 1000), 25))


async def test_aborts_of_more_than_the_cache_holds_leave_it_free(engine: LlamaCppEngine) -> None:
    for i in range(30):
        stream = engine.generate(GenerationRequest(f"a{i}", random_prompt(i, 40 + i), 800))
        if i % 3:
            assert isinstance(await anext(stream), Token)
        await stream.aclose()
    last = await generate(engine, GenerationRequest("last", random_prompt(1, 1000), 24))
    assert isinstance(last, Completion)
    assert len(last.ids) == 24


async def test_memory_is_taken_as_tokens_come_and_what_runs_goes_on_as_it_would(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = [GenerationRequest(f"w{i}", random_prompt(40 + i, 50 + 90 * i), 60) for i in range(4)]
    engine = started(checkpoint, kv_cache_tokens=2048)
    plain = [await generate(engine, work) for work in works]
    engine.stop()
    monkeypatch.setattr(context, "_FIRST_TOKENS", 64)
    engine = started(checkpoint, kv_cache_tokens=2048)
    assert engine._runner._context.num_tokens == 64
    first = engine.generate(works[0])
    begun = [await anext(first)]
    together = await asyncio.gather(*(generate(engine, work) for work in works[1:]))
    begun += [item async for item in first]
    assert [item.id for item in begun if isinstance(item, Token)] == list(plain[0].ids)
    assert [done.ids for done in together] == [done.ids for done in plain[1:]]
    assert 1024 <= engine._runner._context.num_tokens <= 2048
    assert len((await engine.score("k", random_prompt(1, 300))).logprobs) == 299
    engine.stop()


async def test_scores_are_those_of_transformers_and_a_growing_prompt_computes_its_new_tokens(
    engine: LlamaCppEngine, checkpoint: Path
) -> None:
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    text = random_prompt(4, 200)
    cached = 0
    for length in (60, 61, 130, 200):
        scores = await engine.score("r", text[:length])
        _assert_as_transformers(scores, model, text[:length])
        assert (scores.usage.prompt, scores.usage.cached) == (length - cached, cached)
        cached = length
    other = (*text[:100], *random_prompt(5, 50))
    scores = await engine.score("r", other)
    _assert_as_transformers(scores, model, other)
    assert (scores.usage.prompt, scores.usage.cached, scores.states.size) == (51, 99, 0)


@torch.inference_mode()
def _assert_as_transformers(scores: PromptScores, model: Any, ids: tuple[int, ...]) -> None:
    logp = torch.log_softmax(model(torch.tensor([ids])).logits[0, :-1].double(), dim=-1)
    chosen = logp.gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
    np.testing.assert_allclose(scores.logprobs, chosen, atol=3e-4)
    np.testing.assert_allclose(scores.entropies, -(logp.exp() * logp).sum(-1), atol=3e-4)


async def test_an_engine_that_only_scores_takes_no_memory_to_generate(checkpoint: Path) -> None:
    engine = started(checkpoint, generates=False)
    assert "_context" not in vars(engine._runner)
    assert len((await engine.score("k", random_prompt(1, 9))).logprobs) == 8
    engine.stop()


@pytest.mark.parametrize("process", ["insight_generator", "slm_executor", "sufficiency_scorer"])
def test_a_process_with_this_engine_needs_neither_torch_nor_transformers(process: str) -> None:
    names = "torch", "transformers"
    needed = f"services.models.engine.llamacpp.engine, services.{process}.__main__"
    check = f"import sys, {needed}; sys.exit(any(n in sys.modules for n in {names}))"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF nothing")
    with pytest.raises(OSError, match=r"broken\.gguf"):
        LlamaCppEngine(EngineSettings(tmp_path, "broken")).start()


@pytest.mark.parametrize("found", [None, "2026.9.11063"])
def test_a_library_of_another_build_is_refused_with_what_to_install(
    found: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(_: str) -> str:
        if found is None:
            raise PackageNotFoundError
        return found

    monkeypatch.setattr(library, "version", version)
    with pytest.raises(OSError, match=r"install tandem-insights\[llamacpp\]"):
        library.open_library.__wrapped__()


def test_a_struct_with_other_defaults_is_refused() -> None:
    interface, opened = library.open_library()
    assert interface is not None
    with pytest.raises(OSError, match="other parameters"):
        library._check(opened.llama_context_default_params(), {"n_ctx": 513})


def test_a_tokenizer_from_its_files_is_that_of_transformers(tmp_path: Path) -> None:
    ChatTokenizer.load(write_tiny_model(tmp_path))._tokenizer.save_pretrained(tmp_path)
    ours, theirs = FileTokenizer.load(tmp_path), ChatTokenizer.load(tmp_path)
    chat = [("system", "short"), ("user", "e\u0301 <|im_end|>\n"), ("assistant", " x"), ("user", "🙂")]
    assert ours.render_chat(chat) == theirs.render_chat(chat)
    for text in (ours.render_chat(chat), "naïve \u212b  \n\n\t", ""):
        for plain in (False, True):
            ids = ours.encode(text, plain=plain)
            assert ids == theirs.encode(text, plain=plain)
            assert ours.decode(ids) == theirs.decode(ids)
    assert (ours.sha256, ours.to_json()) == (theirs.sha256, theirs.to_json())
