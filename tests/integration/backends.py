"""The back ends that test_engine_conformance.py compares, all on the same small real checkpoint."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from services.models.engine.api import Finished, RunningModel, Token
from services.models.engine.llamacpp.engine import LlamaCppEngine
from services.models.engine.remote.openai_writer import ApiSettings, OpenAIWriter
from services.models.engine.settings import EngineSettings
from services.models.engine.token_writer import writer_of
from services.models.engine.torch_engine.engine import TransformersEngine
from services.models.engine.writer import Writing
from tandem.local.ports import free_port
from tandem.method.tokens import Sampling
from tests.conversations import conversation
from tests.peer_servers import serving

BACKENDS = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.gpu),
    pytest.param(
        "vllm", marks=pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="needs tandem-insights[vllm]")
    ),
    "llamacpp",
    "openai",
]


@dataclass(frozen=True)
class Backend:
    """`make(model, max_batch, max_waiting)` returns a new engine. Not `is_exact`: the usage of a cut stream is an
    estimate.

    Not `holds_schemas`: it refuses a JSON schema. `keeps_conversations`: its usage says what was cached of an earlier
    turn.
    An engine that `starts_slowly` is reused by the next test, unless the test is to stop it.
    """

    make: Callable[[Path, int, int], RunningModel]
    checkpoint: Path
    is_exact: bool
    port: int = 0
    starts_slowly: bool = False
    holds_schemas: bool = True
    keeps_conversations: bool = False
    idle: dict[tuple[int, int], RunningModel] = field(default_factory=dict)

    @contextlib.contextmanager
    def running(self, max_batch: int = 4, max_waiting: int = 16, *, stops: bool = False) -> Iterator[RunningModel]:
        engine = self.idle.pop((max_batch, max_waiting), None)
        if engine is None:
            engine = self.make(self.checkpoint, max_batch, max_waiting)
            with restored_environment():  # vLLM sets a dozen variables
                engine.start()
        try:
            yield engine
        finally:
            if self.starts_slowly and not stops:
                self.idle[max_batch, max_waiting] = engine
            else:
                engine.stop()

    def close(self) -> None:
        for engine in self.idle.values():
            engine.stop()


def make_backend(name: str, checkpoint: Path, fixture: Callable[[str], Any]) -> Backend:
    """One of BACKENDS; the fixtures are those that some need."""
    match name:
        case "llamacpp":
            return llamacpp_backend(checkpoint)
        case "vllm":
            return vllm_backend(checkpoint)
        case "openai":
            return api_backend(checkpoint, fixture("api_port"))
    return transformers_backend(checkpoint, device=name)


def transformers_backend(checkpoint: Path, **settings: Any) -> Backend:
    def make(model: Path, max_batch: int, max_waiting: int) -> RunningModel:
        limits = {"max_batch": max_batch, "max_waiting": max_waiting, "prefill_chunk": 16}
        return TransformersEngine(EngineSettings(model, "tiny", dtype="float32", **limits, **settings))

    return Backend(make, checkpoint, is_exact=True, keeps_conversations=True)


@contextlib.contextmanager
def tiny_engine(checkpoint: Path) -> Iterator[TransformersEngine]:
    """Ours on the tiny model, started, with no limits of its own."""
    engine = TransformersEngine(EngineSettings(checkpoint, "tiny", dtype="float32"))
    engine.start()
    yield engine
    engine.stop()


def llamacpp_backend(checkpoint: Path) -> Backend:
    def make(model: Path, max_batch: int, max_waiting: int) -> RunningModel:
        limits = {"max_batch": max_batch, "max_waiting": max_waiting, "prefill_chunk": 16}
        return LlamaCppEngine(EngineSettings(model, "tiny", **limits))

    return Backend(make, checkpoint, is_exact=True)


@contextlib.contextmanager
def restored_environment() -> Iterator[None]:
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def vllm_backend(checkpoint: Path, **more: Any) -> Backend:
    from services.models.engine.remote.vllm_engine import VllmEngine, VllmSettings

    arguments = {"enforce_eager": True, "max_model_len": 2048, "gpu_memory_utilization": 0.2, **more}

    def make(model: Path, max_batch: int, max_waiting: int) -> RunningModel:
        limits = {"max_batch": max_batch, "max_waiting": max_waiting}
        return VllmEngine(VllmSettings(model, "tiny", dtype="float32", **limits, arguments=arguments))

    return Backend(make, checkpoint, is_exact=False, starts_slowly=True)


def api_backend(checkpoint: Path, port: int) -> Backend:
    def make(model: Path, max_batch: int, max_waiting: int) -> RunningModel:
        limits = {"max_batch": max_batch, "max_waiting": max_waiting}
        return OpenAIWriter(ApiSettings(str(model), f"http://127.0.0.1:{port}/v1", "no key", **limits))

    return Backend(make, checkpoint, is_exact=False, port=port, holds_schemas=False)


@contextlib.contextmanager
def serve_api(checkpoint: Path) -> Iterator[int]:
    """The port of a `transformers serve` of the checkpoint."""
    port = free_port()
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(checkpoint), "--device", "cpu"]
    command += ["--dtype", "float32", "--port", str(port), "--host", "127.0.0.1", "--log-level", "error"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    with serving(process, f"http://127.0.0.1:{port}/v1/models", 300):
        yield port


def writing(key: str, question: str, most: int, sampling: Sampling | None = None) -> Writing:
    return Writing(key, conversation(("user", question)), most, sampling or Sampling())


def write(engine: RunningModel, work: Writing) -> AsyncGenerator[Token | Finished, None]:
    return writer_of(engine).write(work)


async def run(engine: RunningModel, work: Writing, *, abort_at: int | None = None) -> tuple[str, int, Finished]:
    """(text, number of tokens, end) of a whole stream; one that is aborted when so many tokens have come."""
    text, tokens = "", 0
    async for item in write(engine, work):
        text += item.text
        if isinstance(item, Finished):
            return text, tokens, item
        tokens += 1
        if tokens == abort_at:
            engine.abort(work.id)
    raise AssertionError("a stream ends with Finished")
