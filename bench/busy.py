"""Three model processes on one machine's cores, all decoding: threads that wait asleep against threads that spin.

`python -m bench.busy`, on the default pair's small model. The local stack runs its three model processes the first way.
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

from bench.common import model_engine, report
from training.metrics import ratio_of_means

_PROCESSES = 3
_WRITTEN = 24


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--as-one-of-three", action="store_true", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.as_one_of_three:
        asyncio.run(_decode_when_told())
        return
    found: dict[str, list[float]] = {"passive": [], "active": []}
    for _ in track(range(options.rounds), description="rounds"):
        for policy, speeds in found.items():
            speeds.append(_tokens_per_second(policy))
    ratio = ratio_of_means(np.array(found["passive"]), np.array(found["active"]))
    report(
        "busy",
        {
            "processes": _PROCESSES,
            "rounds": options.rounds,
            "tokens_per_second": {policy: float(np.mean(speeds)) for policy, speeds in found.items()},
            "passive_relative_to_active": vars(ratio),
        },
    )


def _tokens_per_second(policy: str) -> float:
    """Of all processes together, once each has loaded its model."""
    command = [sys.executable, "-m", "bench.busy", "--as-one-of-three"]
    environment = {**os.environ, "OMP_WAIT_POLICY": policy}
    processes = [
        subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(_PROCESSES)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    started = time.perf_counter()
    told = [process.communicate("go\n")[0] for process in processes]
    made: int = sum(json.loads(text)["made"] for text in told)
    return made / (time.perf_counter() - started)


async def _decode_when_told() -> None:
    from services.common.profile import load_profile
    from services.engine.api import Generation
    from services.engine.batch import generate
    from tandem.paths import DEFAULT_PROFILE, profile_folders

    with model_engine(load_profile(DEFAULT_PROFILE, tuple(profile_folders())).slm) as engine:
        prompt = tuple(engine.tokenizer.encode("Count from one to a hundred: one, two, three,"))
        await generate(engine, Generation("warm", prompt, 4))
        print("ready", flush=True)
        sys.stdin.readline()
        done = await generate(engine, Generation("count", prompt, _WRITTEN))
        print(json.dumps({"made": len(done.ids)}), flush=True)


if __name__ == "__main__":
    main()
