"""Code compiled ahead of time of a small model: it computes what the model computes, and is loaded only where it belongs."""

from __future__ import annotations

import asyncio
import logging
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from services.engine.api import GenerationRequest
from services.engine.batch import generate
from services.engine.loop.runner import Chunk
from services.engine.settings import EngineSettings, code_folder
from services.engine.torch_engine.compiled import load_compiled, main, open_code, probe_command
from services.engine.torch_engine.engine import TransformersEngine
from services.engine.torch_engine.kv_cache import KVCache
from services.engine.torch_engine.model import Checkpoint
from services.engine.torch_engine.varlen import forward_varlen
from tests.integration.backends import COMPILED_THREADS, needs_compiler
from tests.tiny_model import random_prompt, write_tiny_model

pytestmark = [needs_compiler, pytest.mark.timeout(600), pytest.mark.nightly]
HAS_AMX = bool(torch.cpu.get_capabilities().get("amx_tile"))


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


PROMPTS = [random_prompt(seed, length) for seed, length in enumerate((1, 7, 30, 75, 12, 40))]


async def answers(engine: TransformersEngine, together: bool) -> list[tuple[int, ...]]:
    works = [generate(engine, GenerationRequest(f"{number}", ids, 24)) for number, ids in enumerate(PROMPTS)]
    done = await asyncio.gather(*works) if together else [await work for work in works]
    return [completion.ids for completion in done]


def test_compiled_code_computes_the_logits_of_the_model(compiled_checkpoint: Path) -> None:
    ids = [token for prompt in PROMPTS for token in prompt]
    chunks = [Chunk(row, 0, len(prompt)) for row, prompt in enumerate(PROMPTS)]
    compiled = load_compiled(compiled_checkpoint, "float32", COMPILED_THREADS)
    assert compiled is not None
    model = Checkpoint(compiled_checkpoint, "float32", "cpu", "int8")
    with torch.inference_mode():
        expected, logits = (
            forward_varlen(forward, KVCache(), chunks, ids, model.device, torch.arange(len(ids)))
            for forward in (model.logits_model(), compiled)
        )
    assert logits.shape == expected.shape
    assert (logits - expected).norm() / expected.norm() < 0.01


def test_compiled_logits_of_a_prompt_are_close_whatever_else_is_in_the_batch(compiled_checkpoint: Path) -> None:
    compiled = load_compiled(compiled_checkpoint, "float32", COMPILED_THREADS)
    assert compiled is not None

    def logits_of(prompts: list[tuple[int, ...]]) -> torch.Tensor:
        ids = [token for prompt in prompts for token in prompt]
        chunks = [Chunk(row, 0, len(prompt)) for row, prompt in enumerate(prompts)]
        return forward_varlen(compiled, KVCache(), chunks, ids, torch.device("cpu"), torch.arange(len(ids)))

    with torch.inference_mode():
        together = torch.split(logits_of(PROMPTS), [len(prompt) for prompt in PROMPTS])
        for prompt, logits in zip(PROMPTS, together, strict=True):
            alone = logits_of([prompt])
            assert (logits - alone).norm() / alone.norm() < 0.01


@pytest.mark.skipif(HAS_AMX, reason="with AMX float32 rows of such widths are close, not equal (docs/decisions/0039)")
async def test_compiled_completions_do_not_depend_on_the_rest_of_the_batch(compiled_checkpoint: Path) -> None:
    with engine_of(compiled_checkpoint, compiled=True) as engine:
        assert engine.is_compiled
        assert await answers(engine, together=True) == await answers(engine, together=False)


async def test_an_engine_whose_code_is_compiled_scores_with_the_model_itself(compiled_checkpoint: Path) -> None:
    ids = PROMPTS[3]
    with engine_of(compiled_checkpoint, compiled=False) as engine:
        expected = await engine.score("a", ids)
    with engine_of(compiled_checkpoint, compiled=True) as engine:
        assert (await engine.score("a", ids)).logprobs.tolist() == expected.logprobs.tolist()


def test_code_that_is_up_to_date_is_not_compiled_again(compiled_checkpoint: Path) -> None:
    before = code_folder(compiled_checkpoint, COMPILED_THREADS).stat().st_ino
    main(compiled_checkpoint, "float32", COMPILED_THREADS)
    assert code_folder(compiled_checkpoint, COMPILED_THREADS).stat().st_ino == before


def test_code_for_other_circumstances_is_not_loaded_and_the_reason_is_logged(
    compiled_checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = shutil.copytree(compiled_checkpoint, tmp_path / "other")
    write_tiny_model(other, seed=1)
    with caplog.at_level(logging.WARNING):
        assert load_compiled(other, "float32", COMPILED_THREADS) is None
        assert "compiled for other weights" in caplog.text
        assert load_compiled(compiled_checkpoint, "float32", COMPILED_THREADS + 1) is None
        assert "there is no compiled-3" in caplog.text
        assert load_compiled(compiled_checkpoint, "bfloat16", COMPILED_THREADS) is None
        assert "compiled for other dtype" in caplog.text
    assert caplog.text.count("`tandem models compile` helps") == 3


async def test_an_engine_whose_compiled_code_kills_its_process_runs_uncompiled(
    compiled_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = copy_unprobed(compiled_checkpoint, tmp_path)
    suicide = [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGILL)"]
    monkeypatch.setattr("services.engine.torch_engine.compiled.probe_command", lambda *_: suicide)
    with caplog.at_level(logging.WARNING), engine_of(folder, compiled=True) as engine:
        assert not engine.is_compiled
        assert len((await generate(engine, GenerationRequest("a", PROMPTS[1], 4))).ids) == 4
    assert "runs uncompiled" in caplog.text
    assert "killed the process that tried it (SIGILL)" in caplog.text


def test_code_that_passed_the_probe_is_not_tried_again(
    compiled_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, trials = copy_unprobed(compiled_checkpoint, tmp_path), tmp_path / "trials"
    command = [sys.executable, "-c", f"open({str(trials)!r}, 'a').write('x')"]
    monkeypatch.setattr("services.engine.torch_engine.compiled.probe_command", lambda *_: command)
    for _ in range(2):
        assert load_compiled(folder, "float32", COMPILED_THREADS) is not None
    assert trials.read_text() == "x"


def copy_unprobed(checkpoint: Path, parent: Path) -> Path:
    folder = shutil.copytree(checkpoint, parent / "unprobed")
    (code_folder(folder, COMPILED_THREADS) / "probed").unlink(missing_ok=True)
    return folder


def test_amx_is_requested_before_the_code_is_loaded(compiled_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    capabilities = {**torch.cpu.get_capabilities(), "amx_tile": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    monkeypatch.setattr(torch.cpu, "_init_amx", lambda: calls.append("amx"), raising=False)
    monkeypatch.setattr(torch._inductor, "aoti_load_package", lambda _: calls.append("load"))
    open_code(code_folder(compiled_checkpoint, COMPILED_THREADS))
    assert calls == ["amx", "load"]


@pytest.mark.skipif(not HAS_AMX, reason="needs a processor with AMX (Xeon, 4th generation or later)")
def test_compiled_code_runs_in_a_new_process_on_a_processor_with_amx(compiled_checkpoint: Path) -> None:
    command = probe_command(code_folder(compiled_checkpoint, COMPILED_THREADS), COMPILED_THREADS)
    assert subprocess.run(command).returncode == 0
