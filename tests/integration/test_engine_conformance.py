"""What every back end promises (services.engine.api), the same claims for each: our transformers engine (on a GPU too, where
there is one), vLLM where it is installed, and the openai engine against a real OpenAI-compatible server (`transformers
serve`), all with the same small real checkpoint.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import pytest
import torch
from transformers import AutoModelForCausalLM

from services.engine.api import (
    DuplicateRequest,
    Engine,
    EngineStopped,
    Finished,
    FinishReason,
    GenerationRequest,
    QueueFull,
    Token,
)
from services.engine.openai_engine import ApiSettings, OpenAIEngine
from services.engine.tokenizer import ChatTokenizer
from services.engine.transformers_engine import EngineSettings, TransformersEngine
from tandem.method.sampling import Sampling
from tests.conftest import free_port, wait_until
from tests.integration.conftest import needs_compiler
from tests.tiny_model import write_tiny_model

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]
LONG = 1200


@dataclass(frozen=True)
class Backend:
    """`make(max_batch, max_waiting)` gives a new engine on `checkpoint`. Not `is_exact`: a cut stream's usage is estimated.

    One that `starts_slowly` is kept in `kept` for the next test, unless the test is to stop it.
    """

    make: Callable[[int, int], Engine]
    checkpoint: Path
    is_exact: bool
    port: int = 0
    starts_slowly: bool = False
    is_rounded: bool = False
    kept: dict[tuple[int, int], Engine] = field(default_factory=dict)

    @contextlib.contextmanager
    def running(self, max_batch: int = 4, max_waiting: int = 16, *, stops: bool = False) -> Iterator[Engine]:
        engine = self.kept.pop((max_batch, max_waiting), None)
        if engine is None:
            engine = self.make(max_batch, max_waiting)
            engine.start()
        try:
            yield engine
        finally:
            if self.starts_slowly and not stops:
                self.kept[max_batch, max_waiting] = engine
            else:
                engine.stop()

    def close(self) -> None:
        for engine in self.kept.values():
            engine.stop()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny"), head_dim=32)  # the least that vLLM computes on a CPU


@pytest.fixture(scope="module")
def api_port(checkpoint: Path) -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(checkpoint), "--device", "cpu"]
    command += ["--dtype", "float32", "--port", str(port), "--host", "127.0.0.1", "--log-level", "error"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answers() -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=2):
            return True
        assert process.poll() is None, "transformers serve has ended"
        return False

    wait_until(answers, 90)
    yield port
    process.terminate()
    process.wait()


BACKENDS = [
    "cpu",
    pytest.param("compiled", marks=needs_compiler),
    pytest.param("cuda", marks=pytest.mark.gpu),
    pytest.param(
        "vllm", marks=pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="needs tandem[vllm]")
    ),
    "openai",
]


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request: pytest.FixtureRequest, checkpoint: Path) -> Iterator[Backend]:
    backend = make_backend(request, checkpoint)
    yield backend
    backend.close()


def make_backend(request: pytest.FixtureRequest, checkpoint: Path) -> Backend:
    if request.param in ("cpu", "cuda", "compiled"):
        is_compiled = request.param == "compiled"
        folder = request.getfixturevalue("compiled_checkpoint") if is_compiled else checkpoint
        runs = {"quantization": "int8"} if is_compiled else {"device": request.param}

        def make(max_batch: int, max_waiting: int) -> Engine:
            settings = EngineSettings(
                folder, "tiny", dtype="float32", max_batch=max_batch, max_waiting=max_waiting, prefill_chunk=16, **runs
            )
            return TransformersEngine(settings)

        return Backend(make, folder, is_exact=True, is_rounded=is_compiled)
    if request.param == "vllm":

        def make_vllm(max_batch: int, max_waiting: int) -> Engine:
            from services.engine.vllm_engine import VllmEngine, VllmSettings

            arguments = {"enforce_eager": True, "max_model_len": 2048, "gpu_memory_utilization": 0.2}
            settings = VllmSettings(
                checkpoint, "tiny", dtype="float32", max_batch=max_batch, max_waiting=max_waiting, arguments=arguments
            )
            return VllmEngine(settings)

        return Backend(make_vllm, checkpoint, is_exact=False, starts_slowly=True)
    port = request.getfixturevalue("api_port")

    def make_api(max_batch: int, max_waiting: int) -> Engine:
        url = f"http://127.0.0.1:{port}/v1"
        return OpenAIEngine(ApiSettings(str(checkpoint), url, "no key", max_batch=max_batch, max_waiting=max_waiting))

    return Backend(make_api, checkpoint, is_exact=False, port=port)


def generation(
    engine: Engine, key: str, question: str, most: int, sampling: Sampling | None = None
) -> GenerationRequest:
    ids = engine.tokenizer.encode(engine.tokenizer.render_chat([("user", question)]))
    return GenerationRequest(key, tuple(ids), most, sampling or Sampling())


async def run(engine: Engine, work: GenerationRequest) -> tuple[str, int, Finished]:
    """(text, tokens, end) of a stream that is read to its end."""
    text, tokens = "", 0
    async for item in engine.generate(work):
        text += item.text
        if isinstance(item, Finished):
            return text, tokens, item
        tokens += 1
    raise AssertionError("a stream ends with Finished")


def reference(checkpoint: Path, question: str, most: int) -> tuple[str, int, int]:
    """Greedy text of transformers' own generate, its prompt's and its own number of tokens."""
    tokenizer = ChatTokenizer.load(checkpoint)
    ids = tokenizer.encode(tokenizer.render_chat([("user", question)]))
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    made = model.generate(torch.tensor([ids]), max_new_tokens=most, do_sample=False)[0, len(ids) :].tolist()
    return tokenizer.decode(made), len(ids), len(made)


def letters(text: str) -> str:
    """What a random byte model writes is seldom valid UTF-8, and back ends differ in how they show that."""
    return "".join(c for c in text if c.isascii())


async def test_greedy_text_is_that_of_generate_alone_and_in_company(backend: Backend) -> None:
    if backend.is_rounded:
        pytest.skip("int8 writes a text of its own; test_compiled.py compares its logits")
    questions = ["why?", "what is it?", "how many?"]
    with backend.running() as engine:
        done = await asyncio.gather(*(run(engine, generation(engine, q, q, 24)) for q in questions))
    for question, (text, tokens, end) in zip(questions, done, strict=True):
        expected, read, made = reference(backend.checkpoint, question, 24)
        assert letters(expected).startswith(letters(text))  # a server may keep a last character that is not whole
        assert len(letters(text)) >= len(letters(expected)) - 2
        assert (end.usage.prompt + end.usage.cached, end.usage.completion) == (read, made)
        assert (tokens, end.usage.is_estimated) == (made, False)
        assert end.reason is FinishReason.LENGTH


async def test_abort_while_decoding_keeps_what_was_made(backend: Backend) -> None:
    with backend.running() as engine:
        stream, made = engine.generate(generation(engine, "decode", "go on", LONG)), 0
        for _ in range(5):
            made += isinstance(await anext(stream), Token)
        assert engine.abort("decode")
        async for item in stream:
            made += isinstance(item, Token)
        assert isinstance(item, Finished)
        assert item.reason is FinishReason.ABORTED
        assert item.usage.completion == made < LONG
        assert item.usage.is_estimated is not backend.is_exact
        assert not engine.abort("decode")


async def test_abort_before_the_first_token(backend: Backend) -> None:
    with backend.running() as engine:
        stream = engine.generate(generation(engine, "prefill", "x" * 900, 900))
        first = asyncio.ensure_future(anext(stream))
        while not engine.abort("prefill"):
            await asyncio.sleep(0)
        item = await first
        assert isinstance(item, Finished)
        assert (item.reason, item.usage.completion) == (FinishReason.ABORTED, 0)


async def test_abort_in_the_queue_costs_nothing(backend: Backend) -> None:
    with backend.running(max_batch=1) as engine:
        running = engine.generate(generation(engine, "running", "a", LONG))
        await anext(running)
        waiting = asyncio.ensure_future(run(engine, generation(engine, "waiting", "b", 10)))
        while not engine.abort("waiting"):
            await asyncio.sleep(0)
        _, tokens, end = await waiting
        assert (tokens, end.reason, end.usage.prompt, end.usage.completion) == (0, FinishReason.ABORTED, 0, 0)
        await running.aclose()


async def test_what_was_read_ahead_changes_nothing_but_what_is_read(backend: Backend) -> None:
    with backend.running() as engine:
        question = "so far, so good? " * 20
        plain = await run(engine, generation(engine, "plain", question, 12))
        text, tokens, ahead = await run(engine, generation(engine, "ahead", question, 0))
        assert (text, tokens, ahead.usage.completion, ahead.reason) == ("", 0, 0, FinishReason.LENGTH)
        after = await run(engine, generation(engine, "after", question, 12))
    assert after[:2] == plain[:2]
    read, found = after[2].usage.prompt, after[2].usage.cached
    assert read + found == plain[2].usage.prompt + plain[2].usage.cached


async def test_closing_the_stream_early_aborts(backend: Backend) -> None:
    with backend.running() as engine:
        stream = engine.generate(generation(engine, "closed", "a", LONG))
        await anext(stream)
        await stream.aclose()
        _, tokens, _ = await run(engine, generation(engine, "after", "a", 4))
        assert tokens == 4
        assert not engine.abort("closed")


async def test_a_stream_that_is_closed_after_its_end_leaves_the_next_of_its_id_alone(backend: Backend) -> None:
    with backend.running() as engine:
        first = engine.generate(generation(engine, "again", "a", 3))
        while not isinstance(await anext(first), Finished):
            pass
        second = engine.generate(generation(engine, "again", "a", 4))
        items = [await anext(second)]
        await first.aclose()
        items += [item async for item in second]
    assert (sum(isinstance(item, Token) for item in items), items[-1].reason) == (4, FinishReason.LENGTH)


def connections(port: int) -> int:
    """How many this process has to a server here."""
    return sum(c.pid == os.getpid() and bool(c.raddr) and c.raddr.port == port for c in psutil.net_connections("tcp"))


async def test_a_hundred_aborts_leak_nothing(backend: Backend) -> None:
    with backend.running() as engine:
        for i in range(100):
            # `transformers serve` goes on with a request whose client has left before its first token: so they are short.
            stream = engine.generate(
                generation(engine, f"leak{i}", "a" * (1 + i % 40), 1000 if backend.is_exact else 30)
            )
            if i % 2:
                await anext(stream)
            else:
                task = asyncio.ensure_future(anext(stream))
                await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            await stream.aclose()
        _, tokens, _ = await run(engine, generation(engine, "last", "a", 4))
        assert tokens == 4
        assert (engine.load.running, engine.load.waiting) == (0, 0)
        if backend.port:
            assert connections(backend.port) <= 2  # what the client keeps for the next request
    if backend.port:
        async with asyncio.timeout(10):
            while connections(backend.port):
                await asyncio.sleep(0.05)


async def test_a_full_queue_and_a_second_request_of_one_id_are_refused(backend: Backend) -> None:
    with backend.running(max_batch=1, max_waiting=1, stops=True) as engine:
        running = engine.generate(generation(engine, "q0", "a", LONG))
        await anext(running)
        with pytest.raises(DuplicateRequest, match="q0"):
            await anext(engine.generate(generation(engine, "q0", "a", 5)))
        waiting = asyncio.ensure_future(run(engine, generation(engine, "q1", "a", 5)))
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await anext(engine.generate(generation(engine, "q2", "a", 5)))
        await running.aclose()
        assert (await waiting)[1] == 5
    with pytest.raises(EngineStopped):
        await anext(engine.generate(generation(engine, "late", "a", 5)))


async def test_stopping_ends_every_stream(backend: Backend) -> None:
    with backend.running(stops=True) as engine:
        stream = engine.generate(generation(engine, "stopped", "a", LONG))
        await anext(stream)
    last = [item async for item in stream][-1]
    assert isinstance(last, Finished)
    assert last.reason is FinishReason.ABORTED


async def test_a_model_that_is_not_there_is_named(backend: Backend, tmp_path: Path) -> None:
    if not backend.port:
        engine = backend.make(4, 16)
        engine._settings = replace(engine._settings, path=tmp_path / "nothing")  # type: ignore[attr-defined]
    else:
        engine = OpenAIEngine(ApiSettings("nothing", f"http://127.0.0.1:{backend.port}/v1", "no key"))
    with pytest.raises(OSError, match="nothing"):
        engine.start()


async def test_an_api_that_does_not_answer_says_what_to_check() -> None:
    with pytest.raises(OSError, match="OPENAI_BASE_URL"):
        OpenAIEngine(ApiSettings("any", f"http://127.0.0.1:{free_port()}/v1", "no key")).start()
