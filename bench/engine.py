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
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from bench import peers
from bench.common import model_engine, must_be_compiled, report
from services.engine.api import GenerationRequest, Token
from services.engine.tokenizer import ChatTokenizer
from services.engine.transformers_engine import TransformersEngine
from tandem.method.profile import Model, Profile, load_profile
from tandem.method.prompts import llm_alone_prompt
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
    arguments.add_argument("--as-one-of-them", choices=["compiled", "uncompiled"], help=argparse.SUPPRESS)
    options = arguments.parse_args()
    profile = load_profile(DEFAULT_PROFILE, tuple(profile_folders()))
    if options.as_one_of_them:
        _answer_lines(getattr(profile, options.model), is_compiled=options.as_one_of_them == "compiled")
        return
    if lacking := peers.missing():
        raise SystemExit(f"missing: {', '.join(lacking)}; run `make peers`")
    report(f"engine-{options.model}", _measure(profile, options))


def _measure(profile: Profile, options: argparse.Namespace) -> dict[str, Any]:
    model: Model = getattr(profile, options.model)
    tokenizer = ChatTokenizer.load(models_folder() / model.name)
    questions = load("math_train").sample((options.rounds + 1) * sum(options.widths), 2)
    prompts = (llm_alone_prompt(profile, tokenizer, item.question).ids for item in questions.items)
    # Each in a process of its own: the threads of two engines in one would not spin.
    own = [sys.executable, "-m", "bench.engine", "--model", options.model, "--as-one-of-them"]
    vllm = [str(peers.vllm_python()), str(Path(__file__).with_name("vllm_peer.py")), str(models_folder() / model.name)]
    with ExitStack() as open_:
        ways: dict[str, Run] = {
            "ours": open_.enter_context(_process([*own, "compiled"])),
            "uncompiled": open_.enter_context(_process([*own, "uncompiled"])),
            "llama.cpp": lambda asked: _run_llama(peers.gguf(model.name), asked),
            "vllm": open_.enter_context(_process([*vllm, str(max(options.widths))])),
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


def _answer_lines(model: Model, is_compiled: bool) -> None:
    """As bench/vllm_peer.py does for vLLM."""
    with model_engine(model, threads=_THREADS, max_batch=64, compiled=is_compiled) as engine:
        if is_compiled:
            must_be_compiled(engine)
        for line in sys.stdin:
            started = time.time()
            made = asyncio.run(_made_at(engine, json.loads(line)["prompts"]))
            print(json.dumps({"started": started, "made": made}), flush=True)


async def _made_at(engine: TransformersEngine, prompts: list[list[int]]) -> list[float]:
    async def stream(number: int, ids: list[int]) -> list[float]:
        generation = GenerationRequest(f"{number}", tuple(ids), _WRITTEN)
        return [item.generated_at async for item in engine.generate(generation) if isinstance(item, Token)]

    return sorted(chain(*await asyncio.gather(*(stream(number, ids) for number, ids in enumerate(prompts)))))


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
def _process(command: list[str]) -> Iterator[Run]:
    """An engine in its own process, which answers a line of JSON with a line of JSON."""
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
                raise SystemExit(f"an engine has ended: run {' '.join(command)} to see why")
        reply = json.loads(line)
        return _speed(reply["started"], reply["made"], len(prompts))

    try:
        yield run
    finally:
        stdin.close()
        process.wait(60)


if __name__ == "__main__":
    main()
