"""Decoding by one model process and by three on the same cores, with three OpenMP wait policies.

`python -m lab.bench.busy`, on the default pair's small model. A thread that waits for the next parallel loop sleeps at once
("asleep"), spins for a moment ("short", as the services do), or spins until the loop comes ("spinning").
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time

import numpy as np
from rich.progress import track

from lab.bench.common import Figures, default_profile, local_engine, report
from lab.training.metrics import ratio_of_means
from services.engine import SPIN_COUNT
from services.engine.api import GenerationRequest
from services.engine.batch import generate

_PROCESSES = (1, 3)
_SPIN_COUNTS = {"asleep": "0", "short": SPIN_COUNT, "spinning": "infinity"}
_GENERATED = 96


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=2)
    arguments.add_argument("--as-one-of-them", action="store_true", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.as_one_of_them:
        asyncio.run(_decode_on_command())
        return
    speeds: dict[int, dict[str, list[float]]] = {n: {name: [] for name in _SPIN_COUNTS} for n in _PROCESSES}
    for _ in track(range(options.rounds), description="rounds"):
        for count, by_policy in speeds.items():
            for name, spin_count in _SPIN_COUNTS.items():
                by_policy[name].append(_tokens_per_second(spin_count, count))
    report("busy", {"rounds": options.rounds, "processes": {n: _figures(each) for n, each in speeds.items()}})


def _figures(speeds: dict[str, list[float]]) -> Figures:
    ours = np.array(speeds["short"])
    return {
        "tokens_per_second": {name: float(np.mean(each)) for name, each in speeds.items()},
        "short_relative_to": {
            name: vars(ratio_of_means(ours, np.array(each))) for name, each in speeds.items() if name != "short"
        },
    }


def _tokens_per_second(spin_count: str, count: int) -> float:
    """Of `count` processes together, from the moment when each has loaded its model."""
    command = [sys.executable, "-m", "lab.bench.busy", "--as-one-of-them"]
    environment = {**os.environ, "GOMP_SPINCOUNT": spin_count}
    processes = [
        subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    replies = [json.loads(process.communicate()[0]) for process in processes]
    tokens: int = sum(reply["tokens"] for reply in replies)
    seconds: float = max(reply["ended"] for reply in replies) - min(reply["started"] for reply in replies)
    return tokens / seconds


async def _decode_on_command() -> None:
    """Print "ready", wait for a line, generate, and print tokens and Unix times as JSON."""
    with local_engine(default_profile().slm, "transformers") as engine:
        prompt = tuple(engine.tokenizer.encode("Count from one to a hundred: one, two, three,"))
        await generate(engine, GenerationRequest("warm", prompt, 4))
        print("ready", flush=True)
        sys.stdin.readline()
        started = time.time()
        done = await generate(engine, GenerationRequest("count", prompt, _GENERATED))
        print(json.dumps({"tokens": len(done.ids), "started": started, "ended": time.time()}), flush=True)


if __name__ == "__main__":
    main()
