"""Tokens per second of our engine, llama.cpp and vLLM on this CPU, on the same weights and prompts, in turns.

`python -m bench.engine` after `make peers`. Each round runs every engine at every width, so that other load on the machine
affects all of them alike; a ratio's interval is over the rounds. No prompt is used twice, so prefix caches help only with
what the prompts share. Width 1 measures decoding alone. A larger width measures prefill and decoding, from the first request
to the last token.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from rich.progress import track

from bench import peers
from bench.common import Figures, default_profile, model_engine, must_be_compiled, report
from bench.lines import Prompts, answer_lines, line_process
from services.engine.tokenizer import ChatTokenizer
from tandem.method.profile import Model, Profile
from tandem.method.prompts import llm_alone_prompt
from tandem.paths import models_folder
from training.datasets import load
from training.metrics import ratio_of_means

_GENERATED = 64
_THREADS = 2
_VLLM_ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_CPU_OMP_THREADS_BIND": "0-1", "VLLM_NO_USAGE_STATS": "1",
}  # fmt: skip
Run = Callable[[Prompts], float]
"""Tokens per second with one sequence for each prompt."""
Speeds = dict[str, dict[int, list[float]]]
"""Tokens per second by engine and width, one entry per round."""


@dataclass(frozen=True, slots=True)
class _Options:
    rounds: int
    widths: list[int]
    model: str


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--widths", type=int, nargs="+", default=[1, 8, 32], help="numbers of concurrent sequences")
    arguments.add_argument("--model", choices=["llm", "slm"], default="slm", help="of the default pair")
    arguments.add_argument("--as-one-of-them", choices=["compiled", "uncompiled"], help=argparse.SUPPRESS)
    parsed = arguments.parse_args()
    profile = default_profile()
    model: Model = getattr(profile, parsed.model)
    if parsed.as_one_of_them:
        _serve_lines(model, is_compiled=parsed.as_one_of_them == "compiled")
        return
    if lacking := peers.missing():
        raise SystemExit(f"missing: {', '.join(lacking)}; run `make peers`")
    options = _Options(parsed.rounds, parsed.widths, parsed.model)
    with ExitStack() as stack:
        speeds = _measure(_engines(model, options, stack), _prompts(profile, model, options), options)
    report(f"engine-{options.model}", _figures(model, speeds, options))


def _engines(model: Model, options: _Options, stack: ExitStack) -> dict[str, Run]:
    # Each runs in a process of its own: the threads of two engines in one process would not spin.
    own = [sys.executable, "-m", "bench.engine", "--model", options.model, "--as-one-of-them"]
    vllm = [str(peers.vllm_python()), str(Path(__file__).with_name("vllm_peer.py")), str(models_folder() / model.name)]
    vllm.append(str(max(options.widths)))
    return {
        "ours": stack.enter_context(_process([*own, "compiled"])),
        "uncompiled": stack.enter_context(_process([*own, "uncompiled"])),
        "llama.cpp": lambda prompts: _run_llama(peers.gguf(model.name), prompts),
        "vllm": stack.enter_context(_process(vllm, _VLLM_ENVIRONMENT)),
    }


def _prompts(profile: Profile, model: Model, options: _Options) -> Iterator[tuple[int, ...]]:
    tokenizer = ChatTokenizer.load(models_folder() / model.name)
    questions = load("math_train").sample((options.rounds + 1) * sum(options.widths), 2)
    return (llm_alone_prompt(profile, tokenizer, item.question).ids for item in questions.items)


def _measure(engines: Mapping[str, Run], prompts: Iterator[tuple[int, ...]], options: _Options) -> Speeds:
    speeds: Speeds = {name: {width: [] for width in options.widths} for name in engines}
    for round_ in track(range(options.rounds + 1), description="rounds"):
        for width in options.widths:
            batch = list(islice(prompts, width))
            for name, run in engines.items():
                speed = run(batch)
                if round_:  # the first round warms up
                    speeds[name][width].append(speed)
    return speeds


def _figures(model: Model, speeds: Speeds, options: _Options) -> Figures:
    ours = {width: np.array(each) for width, each in speeds["ours"].items()}
    return {
        "model": model.name,
        "weights": {"ours": "int8, from the 4-bit file, compiled", "llama.cpp": "4-bit", "vllm": model.dtype},
        "threads": _THREADS,
        "tokens_written": _GENERATED,
        "rounds": options.rounds,
        "tokens_per_second": {
            name: {width: float(np.mean(each)) for width, each in by_width.items()} for name, by_width in speeds.items()
        },
        "ours_relative_to": {
            name: {width: vars(ratio_of_means(ours[width], np.array(each))) for width, each in by_width.items()}
            for name, by_width in speeds.items()
            if name != "ours"
        },
    }


def _serve_lines(model: Model, *, is_compiled: bool) -> None:
    """Run our engine behind the same line protocol as bench/vllm_peer.py."""
    with model_engine(model, threads=_THREADS, max_batch=64, compiled=is_compiled) as engine:
        if is_compiled:
            must_be_compiled(engine)
        answer_lines(engine)


@contextmanager
def _process(command: list[str], environment: Mapping[str, str] | None = None) -> Iterator[Run]:
    with line_process(command, environment) as process:
        yield lambda prompts: process.tokens_per_second(prompts, _GENERATED)


def _run_llama(weights: Path, prompts: Prompts) -> float:
    width = len(prompts)
    threads = ["-t", str(_THREADS)]
    if width == 1:
        command = [str(peers.folder() / "llama-bench"), "-m", str(weights), "-p", "0", "-n", str(_GENERATED), "-r", "1"]
        [result] = json.loads(_output([*command, *threads, "-o", "json"]))
        return float(result["avg_ts"])
    length = round(np.mean([len(ids) for ids in prompts]))
    command = [str(peers.folder() / "llama-batched-bench"), "-m", str(weights), "-npp", str(length)]
    command += ["-ntg", str(_GENERATED), "-npl", str(width), "-c", str(width * (length + _GENERATED) + 64)]
    lines = _output([*command, *threads, "--output-format", "jsonl"]).splitlines()
    [result] = [json.loads(line) for line in lines if line.startswith("{") and '"speed_tg"' in line]
    return width * _GENERATED / float(result["t"])


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
