"""Code compiled ahead of a small model: it writes what the model writes, and only where it belongs."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from services.engine.api import GenerationRequest
from services.engine.batch import generate
from services.engine.compiled import code_folder, load_compiled, main
from services.engine.model import Model, Writer
from services.engine.ragged import Piece, run
from services.engine.slot_cache import SlotCache
from services.engine.transformers_engine import EngineSettings, TransformersEngine
from tandem.local.catalogue import ModelError
from tandem.local.models import compile_ahead
from tests.integration.conftest import COMPILED_THREADS, needs_compiler
from tests.tiny_model import write_tiny_model

pytestmark = [needs_compiler, pytest.mark.timeout(240)]


@contextmanager
def engine_of(folder: Path, compiled: bool) -> Iterator[TransformersEngine]:
    settings = EngineSettings(
        folder,
        "tiny",
        dtype="float32",
        quantization="int8",
        threads=COMPILED_THREADS,
        prefill_chunk=32,
        compiled=compiled,
    )
    engine = TransformersEngine(settings)
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()


def prompts() -> list[tuple[int, ...]]:
    generator = torch.Generator().manual_seed(3)
    return [tuple(torch.randint(0, 250, (n,), generator=generator).tolist()) for n in (1, 7, 30, 75, 12, 40)]


async def answers(engine: TransformersEngine, together: bool) -> list[tuple[int, ...]]:
    works = [generate(engine, GenerationRequest(f"{number}", ids, 24)) for number, ids in enumerate(prompts())]
    done = await asyncio.gather(*works) if together else [await work for work in works]
    return [one.ids for one in done]


def test_compiled_code_gives_the_logits_of_the_model(compiled_checkpoint: Path) -> None:
    ids = [token for prompt in prompts() for token in prompt]
    pieces = [Piece(row, 0, len(prompt)) for row, prompt in enumerate(prompts())]
    model = Model(compiled_checkpoint, "float32", "cpu", "int8")
    with torch.inference_mode():
        own, made = (
            run(
                model.writer(compiled, COMPILED_THREADS), SlotCache(), pieces, ids, model.device, torch.arange(len(ids))
            )
            for compiled in (False, True)
        )
    assert not isinstance(model.writer(True, COMPILED_THREADS), Writer)
    assert made.shape == own.shape
    assert (made - own).norm() / own.norm() < 0.01


async def test_what_compiled_code_writes_does_not_depend_on_who_else_is_in_the_batch(compiled_checkpoint: Path) -> None:
    with engine_of(compiled_checkpoint, compiled=True) as engine:
        assert await answers(engine, together=True) == await answers(engine, together=False)


async def test_an_engine_whose_code_is_compiled_scores_with_the_model_itself(compiled_checkpoint: Path) -> None:
    ids = prompts()[3]
    with engine_of(compiled_checkpoint, compiled=False) as engine:
        expected = await engine.score("a", ids)
    with engine_of(compiled_checkpoint, compiled=True) as engine:
        assert (await engine.score("a", ids)).logprobs.tolist() == expected.logprobs.tolist()


def test_what_was_compiled_is_not_compiled_again(compiled_checkpoint: Path) -> None:
    before = code_folder(compiled_checkpoint, COMPILED_THREADS).stat().st_ino
    main(compiled_checkpoint, "float32", COMPILED_THREADS)
    assert code_folder(compiled_checkpoint, COMPILED_THREADS).stat().st_ino == before


def test_code_for_other_circumstances_is_left_alone_with_the_reason(
    compiled_checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = shutil.copytree(compiled_checkpoint, tmp_path / "other")
    write_tiny_model(other, seed=1)
    with caplog.at_level(logging.WARNING):
        assert load_compiled(other, "float32", COMPILED_THREADS) is None
        assert "made for other weights" in caplog.text
        assert load_compiled(compiled_checkpoint, "float32", COMPILED_THREADS + 1) is None
        assert "there is no compiled-3" in caplog.text
        assert load_compiled(compiled_checkpoint, "bfloat16", COMPILED_THREADS) is None
        assert "made for other dtype" in caplog.text
    assert caplog.text.count("`tandem models compile` helps") == 3


def test_a_missing_compiler_or_model_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TANDEM_MODELS", str(tmp_path))
    with pytest.raises(ModelError, match="run `tandem models pull`"):
        compile_ahead("nobody", "bfloat16", 2)
    monkeypatch.setenv("CXX", "no-compiler")
    with pytest.raises(ModelError, match="install no-compiler"):
        compile_ahead("nobody", "bfloat16", 2)
