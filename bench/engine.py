"""Tokens per second of our engine against llama.cpp and vLLM on this CPU, on the same weights and prompts, in turns.

`python -m bench.engine` after `make peers`. Each round runs every engine at every width, so that what else the machine
does meets them alike; a ratio's interval is over the rounds. No prompt is asked twice, so that what an engine keeps of earlier
texts helps it only with what the prompts share. One stream: decoding alone. Several: prompts read and tokens written,
from the first request to the last token.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from bench import peers
from bench.common import model_engine, must_be_compiled, report
from services.common.profile import load_profile
from services.common.prompts import alone_prompt
from services.engine.api import Finished, Generation, Token
from services.engine.transformers_engine import TransformersEngine
from tandem.paths import DEFAULT_PROFILE, models_folder, profile_folders
from training.datasets import load
from training.metrics import ratio_of_means

_WRITTEN = 64
_THREADS = 2
Prompts = list[tuple[int, ...]]
Run = Callable[[Prompts], float]
"""Tokens per second with a stream for each prompt."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--widths", type=int, nargs="+", default=[1, 8, 32])
    arguments.add_argument("--model", choices=["llm", "slm"], default="slm", help="of the default pair")
    options = arguments.parse_args()
    if lacking := peers.missing():
        raise SystemExit(f"missing: {', '.join(lacking)}; run `make peers`")
    report(f"engine-{options.model}", _measure(options))


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    profile = load_profile(DEFAULT_PROFILE, tuple(profile_folders()))
    model = profile.llm if options.model == "llm" else profile.slm
    with ExitStack() as open_:
        engine = open_.enter_context(model_engine(model, threads=_THREADS, max_batch=64))
        must_be_compiled(engine)
        uncompiled = open_.enter_context(model_engine(model, threads=_THREADS, max_batch=64, compiled=False))
        questions = load("math_train").sample((options.rounds + 1) * sum(options.widths), 2)
        prompts = (alone_prompt(profile, engine.tokenizer, item.question).ids for item in questions.items)
        ways: dict[str, Run] = {
            "ours": lambda asked: asyncio.run(_run_ours(engine, asked)),
            "uncompiled": lambda asked: asyncio.run(_run_ours(uncompiled, asked)),
            "llama.cpp": lambda asked: _run_llama(peers.gguf(model.name), asked),
            "vllm": open_.enter_context(_vllm(models_folder() / model.name, max(options.widths))),
        }
        found: dict[str, dict[int, list[float]]] = {way: {width: [] for width in options.widths} for way in ways}
        for round_ in track(range(options.rounds + 1), description="rounds"):
            for width in options.widths:
                asked = list(islice(prompts, width))
                for way, run in ways.items():
                    speed = run(asked)
                    if round_:  # the first one warms up
                        found[way][width].append(speed)
    return {
        "model": model.name,
        "weights": {"ours": "int8, from the 4-bit file, compiled", "llama.cpp": "4-bit", "vllm": model.dtype},
        "threads": _THREADS,
        "tokens_written": _WRITTEN,
        "rounds": options.rounds,
        "tokens_per_second": {way: {w: float(np.mean(s)) for w, s in each.items()} for way, each in found.items()},
        "ours_relative_to": {
            way: {w: vars(ratio_of_means(np.array(found["ours"][w]), np.array(found[way][w]))) for w in options.widths}
            for way in ways
            if way != "ours"
        },
    }


async def _run_ours(engine: TransformersEngine, prompts: Prompts) -> float:
    made: list[float] = []

    async def stream(number: int, ids: tuple[int, ...]) -> None:
        async for item in engine.generate(Generation(f"{number}", ids, _WRITTEN)):
            if isinstance(item, Token):
                made.append(item.made_at)
            assert isinstance(item, (Token, Finished))

    started = time.time()
    await asyncio.gather(*(stream(number, ids) for number, ids in enumerate(prompts)))
    return _speed(started, made, len(prompts))


def _speed(started: float, made: list[float], width: int) -> float:
    """One stream: from its first token on."""
    if width == 1:
        return (len(made) - 1) / (made[-1] - made[0])
    return len(made) / (max(made) - started)


def _run_llama(weights: Path, prompts: Prompts) -> float:
    width = len(prompts)
    threads = ["-t", str(_THREADS)]
    if width == 1:
        command = [str(peers.folder() / "llama-bench"), "-m", str(weights), "-p", "0", "-n", str(_WRITTEN), "-r", "1"]
        [result] = json.loads(_output([*command, *threads, "-o", "json"]))
        return float(result["avg_ts"])
    length = round(np.mean([len(ids) for ids in prompts]))
    command = [str(peers.folder() / "llama-batched-bench"), "-m", str(weights), "-npp", str(length)]
    command += ["-ntg", str(_WRITTEN), "-npl", str(width), "-c", str(width * (length + _WRITTEN) + 64)]
    lines = _output([*command, *threads, "--output-format", "jsonl"]).splitlines()
    [result] = [json.loads(line) for line in lines if line.startswith("{") and '"speed_tg"' in line]
    return width * _WRITTEN / float(result["t"])


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@contextmanager
def _vllm(weights: Path, width: int) -> Iterator[Run]:
    """vLLM in its own environment, which answers a line of JSON with a line of JSON."""
    command = [str(peers.vllm_python()), str(Path(__file__).with_name("vllm_peer.py")), str(weights), str(width)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout

    def run(prompts: Prompts) -> float:
        stdin.write(json.dumps({"prompts": prompts, "most": _WRITTEN}) + "\n")
        stdin.flush()
        while not (line := stdout.readline()).startswith("{"):
            if not line:
                raise RuntimeError(f"vLLM has ended: run {' '.join(command)} to see why")
        reply = json.loads(line)
        return _speed(reply["started"], reply["made"], len(prompts))

    try:
        yield run
    finally:
        stdin.close()
        process.wait(60)


if __name__ == "__main__":
    main()
