"""One model process and three on one machine's cores, decoding: threads that wait asleep, spin for a moment, spin on.

`python -m bench.busy`, on the default pair's small model. The services wait the second way.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from typing import Any

import numpy as np
from rich.progress import track

from bench.common import model_engine, report
from services.engine import SPIN_COUNT
from training.metrics import ratio_of_means

_PROCESSES = 3
_WAYS = {
    "asleep": {"GOMP_SPINCOUNT": "0"},
    "short": {"GOMP_SPINCOUNT": SPIN_COUNT},
    "spinning": {"GOMP_SPINCOUNT": "infinity"},
}
"""How a thread waits for the next loop that is shared out among the cores."""
_WRITTEN = 96


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=2)
    arguments.add_argument("--as-one-of-them", action="store_true", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.as_one_of_them:
        asyncio.run(_decode_when_told())
        return
    found: dict[int, dict[str, list[float]]] = {n: {way: [] for way in _WAYS} for n in (1, _PROCESSES)}
    for _ in track(range(options.rounds), description="rounds"):
        for processes, ways in found.items():
            for way, speeds in ways.items():
                speeds.append(_tokens_per_second(_WAYS[way], processes))
    report("busy", {"rounds": options.rounds, "processes": {n: _compared(ways) for n, ways in found.items()}})


def _compared(ways: dict[str, list[float]]) -> dict[str, Any]:
    ours = np.array(ways["short"])
    return {
        "tokens_per_second": {way: float(np.mean(speeds)) for way, speeds in ways.items()},
        "short_relative_to": {
            way: vars(ratio_of_means(ours, np.array(speeds))) for way, speeds in ways.items() if way != "short"
        },
    }


def _tokens_per_second(waiting: dict[str, str], count: int) -> float:
    """Of `count` processes together, once each has loaded its model."""
    command = [sys.executable, "-m", "bench.busy", "--as-one-of-them"]
    environment = {**os.environ, **waiting}
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
    told = [json.loads(process.communicate()[0]) for process in processes]
    made: int = sum(each["made"] for each in told)
    seconds: float = max(each["ended"] for each in told) - min(each["started"] for each in told)
    return made / seconds


async def _decode_when_told() -> None:
    from services.engine.api import GenerationRequest
    from services.engine.batch import generate
    from tandem.method.profile import load_profile
    from tandem.paths import DEFAULT_PROFILE, profile_folders

    with model_engine(load_profile(DEFAULT_PROFILE, tuple(profile_folders())).slm) as engine:
        prompt = tuple(engine.tokenizer.encode("Count from one to a hundred: one, two, three,"))
        await generate(engine, GenerationRequest("warm", prompt, 4))
        print("ready", flush=True)
        sys.stdin.readline()
        started = time.time()
        done = await generate(engine, GenerationRequest("count", prompt, _WRITTEN))
        print(json.dumps({"made": len(done.ids), "started": started, "ended": time.time()}), flush=True)


if __name__ == "__main__":
    main()
