"""An hour, and twenty thousand requests at least, on one local stack: whether memory, descriptors, keys, Temporal's
database and the slowest answers stay flat.

`python -m lab.bench.soak`. Draws docs/soak.svg.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import cycle

import numpy as np
import psutil
from rich.progress import Progress

from lab.bench.common import RESULTS, Figures, report
from lab.bench.drawing import plt
from tandem import Client, RequestError
from tandem.local.supervisor import Stack
from tandem.paths import REPOSITORY
from tests.stacks import pid_of, redis_of, scripted_stack

# Stopped in the first stage, never stopped, answered by the large model, answered at once.
_QUESTIONS = (
    "[ms=2 scores=16:0.9 slm_eos=8]", "[ms=1 slm_eos=8]", "[ms=1 llm_eos=20]", "[ms=2 scores=0:0.9 slm_eos=8]",
)  # fmt: skip
_PICTURE = REPOSITORY / "docs" / "soak.svg"
_MB = 1e6


@dataclass(frozen=True, slots=True)
class Sample:
    """Taken `minutes` after the start. `p50_ms` and `p99_ms` are those of the requests since the sample before."""

    minutes: float
    requests: int
    failed: int
    p50_ms: float
    p99_ms: float
    memory_mb: dict[str, int]
    descriptors: dict[str, int]
    threads: dict[str, int]
    redis_keys: int
    redis_mb: float
    temporal_db_mb: float


@dataclass
class Traffic:
    """What the callers have asked so far: `wanted` requests at least, and until `time.monotonic()` is `until`."""

    wanted: int
    until: float
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _milliseconds: list[float] = field(default_factory=list)
    begun: int = 0
    ended: int = 0
    errors: list[str] = field(default_factory=list)

    def run(self, address: str) -> None:
        """One caller: the next request as soon as its last has ended."""
        with Client(address) as client:
            for script in cycle(_QUESTIONS):
                number = self._next()
                if number is None:
                    return
                self._ask(client, f"{script} {number}")

    def taken(self) -> list[float]:
        """Milliseconds of the requests since the last call."""
        with self._lock:
            found, self._milliseconds = self._milliseconds, []
        return found

    def _next(self) -> int | None:
        with self._lock:
            if self.begun >= self.wanted and time.monotonic() >= self.until:
                return None
            self.begun += 1
            return self.begun

    def _ask(self, client: Client, question: str) -> None:
        began, error = time.perf_counter(), ""
        try:
            client.ask(question)
        except RequestError as refused:
            error = str(refused)
        with self._lock:
            self.ended += 1
            self._milliseconds.append(1000 * (time.perf_counter() - began))
            self.errors += [error] if error else []


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--requests", type=int, default=20_000, help="at least")
    arguments.add_argument("--minutes", type=float, default=60, help="at least")
    arguments.add_argument("--callers", type=int, default=4)
    arguments.add_argument("--seconds", type=float, default=30, help="between two samples")
    arguments.add_argument("--draw", action="store_true", help="only draw the last result again")
    options = arguments.parse_args()
    if options.draw:
        return _draw([Sample(**sample) for sample in json.loads((RESULTS / "soak.json").read_text())["samples"]])
    traffic = Traffic(options.requests, time.monotonic() + 60 * options.minutes)
    with scripted_stack() as stack:
        samples = list(_soak(stack, traffic, options.callers, options.seconds))
    report("soak", _figures(samples, traffic, options.callers))
    _draw(samples)


def _soak(stack: Stack, traffic: Traffic, callers: int, seconds: float) -> Iterator[Sample]:
    began = time.monotonic()
    with ThreadPoolExecutor(callers) as pool, Progress() as progress:
        task = progress.add_task("requests", total=traffic.wanted)
        running = [pool.submit(traffic.run, stack.gateway) for _ in range(callers)]
        while not all(caller.done() for caller in running):
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline and not all(caller.done() for caller in running):
                time.sleep(1)
                progress.update(task, completed=traffic.ended)
            yield _sample(stack, traffic, (time.monotonic() - began) / 60)
        for caller in running:
            caller.result()


def _sample(stack: Stack, traffic: Traffic, minutes: float) -> Sample:
    processes = {row.name: psutil.Process(pid_of(stack, row.name)) for row in stack.status()}
    taken = traffic.taken() or [float("nan")]
    with redis_of(stack) as redis:
        keys, bytes_held = redis.dbsize(), redis.info("memory")["used_memory"]
    return Sample(
        minutes=round(minutes, 2),
        requests=traffic.ended,
        failed=len(traffic.errors),
        p50_ms=round(float(np.percentile(taken, 50)), 1),
        p99_ms=round(float(np.percentile(taken, 99)), 1),
        memory_mb={name: round(process.memory_info().rss / _MB) for name, process in processes.items()},
        descriptors={name: process.num_fds() for name, process in processes.items()},
        threads={name: process.num_threads() for name, process in processes.items()},
        redis_keys=keys,
        redis_mb=round(bytes_held / _MB, 1),
        temporal_db_mb=round(sum(file.stat().st_size for file in stack.folder.glob("temporal.db*")) / _MB, 1),
    )


def _figures(samples: Sequence[Sample], traffic: Traffic, callers: int) -> Figures:
    """`growth`: the last quarter's mean less the second quarter's, by process."""
    second, last = (samples[len(samples) // 4 : len(samples) // 2], samples[-(len(samples) // 4 or 1) :])

    def growth(name: str) -> dict[str, float]:
        before, after = (_means([getattr(sample, name) for sample in part]) for part in (second, last))
        return {process: round(after[process] - before[process], 1) for process in after}

    return {
        "command": "python -m lab.bench.soak",
        "requests": traffic.ended,
        "failed": len(traffic.errors),
        "errors": sorted(set(traffic.errors)),
        "callers": callers,
        "minutes": samples[-1].minutes,
        "growth": {name: growth(name) for name in ("memory_mb", "descriptors", "threads")},
        "samples": [asdict(sample) for sample in samples],
    }


def _means(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([each[name] for each in found])) for name in found[0]}


def _draw(samples: Sequence[Sample]) -> None:
    """Four pictures above each other, over the number of requests."""
    x = [sample.requests for sample in samples]
    figure, (memory, held, stores, times) = plt.subplots(4, figsize=(8, 9), sharex=True, layout="constrained")
    for name in samples[0].memory_mb:
        memory.plot(x, [sample.memory_mb[name] for sample in samples], label=name)
        held.plot(x, [sample.descriptors[name] for sample in samples])
    memory.set_ylabel("resident memory, MB")
    memory.legend(fontsize=7, ncols=3)
    held.set_ylabel("open descriptors")
    stores.plot(x, [sample.temporal_db_mb for sample in samples], label="Temporal's database")
    stores.plot(x, [sample.redis_mb for sample in samples], label="Redis")
    stores.set_ylabel("MB")
    stores.legend(fontsize=7)
    times.plot(x, [sample.p50_ms for sample in samples], label="p50")
    times.plot(x, [sample.p99_ms for sample in samples], label="p99")
    times.set_ylabel("milliseconds of a request")
    times.legend(fontsize=7)
    times.set_xlabel("requests")
    for axes in (memory, held, stores, times):
        axes.set_ylim(bottom=0)
    figure.savefig(_PICTURE, metadata={"Date": None})


if __name__ == "__main__":
    main()
