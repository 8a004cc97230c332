"""What does it cost to encrypt the text in Redis? `python -m lab.bench.sealing --runs 200`.

One token after another is written to two requests of one Redis, with keys and without, in turns; then both are read.
"""

from __future__ import annotations

import argparse
import base64
import random
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import numpy as np
import uvloop

from lab.bench.common import Figures, median_interval, quantiles, report
from services.request_log.connection import Role
from services.request_log.log import RequestLog
from services.request_log.transcript import Transcript
from services.sealing.keys import PayloadKeys
from services.sealing.sealer import Sealer
from tests.conftest import run_redis

_WARM_UP = 50
_KEYS = PayloadKeys(active="a", keys={"a": base64.b64encode(bytes(32)).decode()})


async def measured(url: str, runs: int) -> Figures:
    ttl = timedelta(minutes=5)
    logs = {"with_keys": RequestLog(url, ttl, sealer=Sealer(_KEYS)), "without_keys": RequestLog(url, ttl)}
    ids = {name: uuid4().hex for name in logs}
    writers = {name: await log.streams.begin(ids[name], Role.ANSWER, 1, "token") for name, log in logs.items()}

    def write(name: str, run: int) -> Awaitable[None]:
        return writers[name].append(f" token{run % 10}", [1000 + run])

    def read(name: str, run: int) -> Awaitable[Transcript]:
        return logs[name].streams.read(ids[name], Role.ANSWER)

    figures: Figures = {}
    for what, call in (("write_of_a_token", write), ("read_of_all_tokens", read)):
        times = await _take_turns(list(logs), call, runs)
        for name, taken in times.items():
            figures[f"{what}_{name}_us"] = quantiles(taken)
        figures[f"{what}_with_less_without_us"] = median_interval(
            np.subtract(times["with_keys"], times["without_keys"])
        )
    for name, log in logs.items():
        size = await log._connection.redis.memory_usage(f"{{{ids[name]}}}:answer")
        figures[f"redis_bytes_of_a_token_{name}"] = round(size / (_WARM_UP + runs))
        await log.close()
    return figures


async def _take_turns(
    names: list[str], call: Callable[[str, int], Awaitable[object]], runs: int
) -> dict[str, list[float]]:
    """Microseconds of each call."""
    times: dict[str, list[float]] = {name: [] for name in names}
    dice = random.Random(0)
    for run in range(_WARM_UP + runs):
        dice.shuffle(names)
        for name in names:
            began = time.perf_counter()
            await call(name, run)
            if run >= _WARM_UP:
                times[name].append((time.perf_counter() - began) * 1e6)
    return times


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=200)
    runs = arguments.parse_args().runs
    with tempfile.TemporaryDirectory() as folder, run_redis(Path(folder)) as url:
        report("sealing", uvloop.run(measured(url, runs)))


if __name__ == "__main__":
    main()
