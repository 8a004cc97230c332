"""The first hour with a GPU: `make gpu-check`. No GPU has run this project: what it prints is what its authors do not
know.

The engines' promises on cuda, then in vLLM's own environment those of vLLM, and with vLLM a stop, a bill, a long
request and, with two GPUs, tensor parallelism. `--model`: a folder in Hugging Face layout; without one a tiny random
model, whose speed says nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.bench.vllm import gpu_python
from tandem.method.tokens import Sampling
from tandem.paths import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.models.engine.api import Engine, Finished

_SUITES = "tests/integration/test_engine_conformance.py", "tests/integration/test_engine_schemas.py"
_OWN = "tests/integration/test_vllm_engine.py"
_NONE = """\
No NVIDIA GPU is here (nvidia-smi lists none), so nothing was checked. No GPU has run this project yet: on a machine that has one, please
run `make gpu-check`, and with two GPUs both are tried. Send back what it prints (docs/gpus.md)."""  # noqa: E501
_SECONDS = 1800
Check = Callable[["Engine"], Coroutine[Any, Any, dict[str, Any]]]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--model", type=Path)
    options.add_argument("--gpus", type=int, default=0, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.gpus:
        print(json.dumps(asyncio.run(_with_vllm(given.model, given.gpus))))
        return
    found = gpus()
    if not found:
        print(_NONE)
        return
    print("\n".join(["send back from here", *found, _said(["git", "describe", "--always", "--dirty"])]), flush=True)
    failed = _promises(sys.executable, "cuda", _SUITES)
    python = str(gpu_python())
    failed += _promises(python, "vllm", (*_SUITES, _OWN))
    with _model(given.model) as model:
        for count in range(1, min(2, len(found)) + 1):
            words = [python, "-m", "lab.bench.gpu_check", "--model", str(model), "--gpus", str(count)]
            failed += _shown(f"vLLM on {count} GPU(s)", words)
    print(f"until here; {failed or 'none'} of the parts failed", flush=True)
    sys.exit(bool(failed))


def gpus() -> list[str]:
    """Name, driver and memory of each NVIDIA GPU."""
    if shutil.which("nvidia-smi") is None:
        return []
    return _said(["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]).splitlines()


def _said(words: list[str]) -> str:
    """Empty where the program fails: nvidia-smi does without a driver."""
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def _promises(python: str, backend: str, suites: tuple[str, ...]) -> int:
    words = [python, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "-k", backend, *suites]
    return _shown(f"promises of engines on {backend}", words)


def _shown(title: str, words: list[str]) -> int:
    """1 where it fails. Its end is printed: a traceback, or pytest's summary."""
    began = time.monotonic()
    try:
        done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=_SECONDS)
        code, said = done.returncode, done.stdout[-3000:] + (done.stderr[-3000:] if done.returncode else "")
    except subprocess.TimeoutExpired:
        code, said = 1, f"not within {_SECONDS} s"
    print(
        f"== {title}: {'failed' if code else 'passed'} in {time.monotonic() - began:.0f} s\n{said.strip()}", flush=True
    )
    return int(code != 0)


@contextmanager
def _model(given: Path | None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        if given is None:
            from tests.tiny_model import write_tiny_model

            given = write_tiny_model(Path(folder), head_dim=32)
        yield given


async def _with_vllm(model: Path, num_gpus: int) -> dict[str, Any]:
    """Figures of each check. Raises AssertionError where a promise is broken."""
    from services.models.engine.remote.vllm_engine import VllmEngine, VllmSettings

    engine = VllmEngine(VllmSettings(model, "checked", arguments={"tensor_parallel_size": num_gpus}))
    began = time.monotonic()
    engine.start()
    try:
        start = {"seconds": round(time.monotonic() - began, 1), "context": engine.info.context_length}
        return {"start": start} | {check.__name__: await check(engine) for check in CHECKS}
    finally:
        await asyncio.to_thread(engine.stop)


async def stop(engine: Engine) -> dict[str, Any]:
    """Milliseconds from the abort to the end of the stream; the engine is idle then."""
    from services.models.engine.api import FinishReason

    *_, end, seconds = await _run(engine, "stop", 200, 400, abort_at=20)
    assert end.reason is FinishReason.ABORTED
    assert engine.load.running == 0
    return {"milliseconds": round(1000 * seconds, 1), "tokens": end.usage.completion}


async def bill(engine: Engine) -> dict[str, Any]:
    """The tokens that came are the ones that are counted."""
    prompt, tokens, _, end, _ = await _run(engine, "bill", 300, 64)
    counted = end.usage
    assert (counted.prompt + counted.cached, counted.completion, counted.is_estimated) == (prompt, tokens, False)
    return {"prompt": counted.prompt, "cached": counted.cached, "completion": counted.completion}


async def long(engine: Engine) -> dict[str, Any]:
    """A prompt of 30,000 tokens, or what fits."""
    prompt, tokens, first, end, seconds = await _run(engine, "long", min(30_000, engine.info.context_length - 520), 512)
    assert end.usage.prompt + end.usage.cached == prompt
    rate = (tokens - 1) / (seconds - first) if tokens > 1 else 0.0
    return {
        "prompt": prompt,
        "first_token_seconds": round(first, 2),
        "tokens": tokens,
        "tokens_per_second": round(rate, 1),
    }


CHECKS: tuple[Check, ...] = (stop, bill, long)


async def _run(
    engine: Engine, key: str, length: int, most: int, abort_at: int = 0
) -> tuple[int, int, float, Finished, float]:
    """Tokens of the prompt and of the text, seconds to the first, the end, and seconds from the abort, or else from the
    begin, to it.
    """
    from services.models.engine.api import Finished, GenerationRequest

    ids = engine.tokenizer.encode("one more word " * length)[:length]
    began, first, tokens = time.monotonic(), 0.0, 0
    async for item in engine.generate(GenerationRequest(key, tuple(ids), most, Sampling())):
        if isinstance(item, Finished):
            return len(ids), tokens, first, item, time.monotonic() - began
        tokens += 1
        first = first or time.monotonic() - began
        if tokens == abort_at:
            engine.abort(key)
            began = time.monotonic()
    raise AssertionError("a stream ends with Finished")


if __name__ == "__main__":
    main()
