"""Requests per second at 1 to 64 concurrent, with a fast test engine, and the processor time of a request by process; beside
it, in turns and on the same servers, bare Temporal workflows with as many activities: that do nothing, and that call the models.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import numpy as np
import psutil
from redis.asyncio import Redis
from rich.progress import track
from temporalio.client import Client

from bench import bare
from bench.common import local_stack, quantiles, report
from services.gateway.admission import Admission, Asked
from tandem import AsyncClient
from tandem.local.supervisor import Stack
from tandem.method.profile import load_profile
from tandem.paths import profile_folders
from training.metrics import ratio_of_means

_QUESTION = "[ms=1 slm_eos=8] how?"
_BARE_WORKER = "bare-worker"
Request = Callable[[], Awaitable[Any]]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--widths", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    arguments.add_argument("--requests", type=int, default=64, help="at each width, in each round")
    arguments.add_argument("--rounds", type=int, default=3)
    options = arguments.parse_args()
    report("scaling", asyncio.run(_measure(options)))


async def _measure(options: argparse.Namespace) -> dict[str, Any]:
    with local_stack("scripted", scripted=True) as stack, _bare_worker(stack) as worker:
        temporal = await Client.connect(stack.address("temporal"))
        async with AsyncClient(stack.gateway) as client:
            profile = load_profile("scripted", tuple(profile_folders()))
            admission = Admission({"scripted": profile}, "scripted", {"scripted": len})

            async def bare_request() -> None:
                await temporal.execute_workflow(bare.BareWorkflow.run, "how?", id=uuid4().hex, task_queue=bare.QUEUE)

            async def calling_request() -> None:
                task = admission.admit(Asked("", _QUESTION, "scripted"), "")
                await temporal.execute_workflow(
                    bare.CallingWorkflow.run, task, id=task.request_id, task_queue=bare.QUEUE
                )

            ways: dict[str, Request] = {
                "system": lambda: client.ask(_QUESTION),
                "bare_workflow": bare_request,
                "bare_workflow_that_calls": calling_request,
            }
            for request in ways.values():
                await _rate(request, 8, 4)
            points = [await _at(width, ways, options, stack, worker) for width in track(options.widths)]
            load = await _load_of_a_request(client, temporal, stack)
    return {"requests": options.requests, "rounds": options.rounds, "points": points, "a_request": load}


async def _at(
    width: int, ways: dict[str, Request], options: argparse.Namespace, stack: Stack, worker: psutil.Process
) -> dict[str, Any]:
    """One width: rates in turns, and the processor time that each way has used meanwhile."""
    rates: dict[str, list[float]] = {way: [] for way in ways}
    used: dict[str, Counter[str]] = {way: Counter() for way in ways}
    latencies: list[float] = []
    for _ in range(options.rounds):
        for way, request in ways.items():
            before = _processor_seconds(stack, worker)
            rate, seconds = await _rate(request, options.requests, width)
            used[way].update(_processor_seconds(stack, worker) - before)
            rates[way].append(rate)
            if way == "system":
                latencies += [1000 * s for s in seconds]
    count = options.rounds * options.requests
    per_request = {
        way: {name: round(1000 * seconds / count, 2) for name, seconds in sorted(each.items())}
        for way, each in used.items()
    }
    system = np.array(rates["system"])
    return {
        "concurrent": width,
        "requests_per_second": {way: float(np.mean(each)) for way, each in rates.items()},
        "relative_to": {way: vars(ratio_of_means(system, np.array(rates[way]))) for way in ways if way != "system"},
        "latency_ms": quantiles(latencies),
        "processor_ms_per_request": per_request,
        "most_used": max(per_request["system"], key=lambda name: per_request["system"][name]),
        "bare_worker_memory_mb": round(worker.memory_info().rss / 1e6),
    }


async def _load_of_a_request(client: AsyncClient, temporal: Client, stack: Stack, count: int = 50) -> dict[str, Any]:
    """What one request puts on Temporal and Redis; the same requests, one after the other."""
    async with Redis.from_url(f"redis://{stack.address('redis')}") as redis:
        before = await redis.info()
        ids = [(await client.ask(_QUESTION)).request_id for _ in range(count)]
        after = await redis.info()
    told = [(await temporal.get_workflow_handle(each).describe()).raw_info for each in ids]

    def per_request(key: str) -> float:
        return round(float(after[key] - before[key]) / count, 1)

    return {
        "n": count,
        "redis_commands": per_request("total_commands_processed"),
        "redis_bytes_kept": per_request("used_memory"),
        "history_events": float(np.mean([info.history_length for info in told])),
        "history_bytes": float(np.mean([info.history_size_bytes for info in told])),
        "state_transitions": float(np.mean([info.state_transition_count for info in told])),
    }


async def _rate(request: Request, count: int, width: int) -> tuple[float, list[float]]:
    """Requests per second, and the seconds that each has taken."""
    places, seconds = asyncio.Semaphore(width), []

    async def one() -> None:
        async with places:
            started = time.perf_counter()
            await request()
            seconds.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(count)))
    return count / (time.perf_counter() - started), seconds


def _processor_seconds(stack: Stack, bare_worker: psutil.Process) -> Counter[str]:
    """User and system time of each component since it started."""
    processes = {row.name: psutil.Process(row.pid) for row in stack.status() if row.pid}
    return Counter({name: _seconds(process) for name, process in {**processes, _BARE_WORKER: bare_worker}.items()})


def _seconds(process: psutil.Process) -> float:
    times = [p.cpu_times() for p in (process, *process.children(recursive=True))]
    return sum(t.user + t.system for t in times)


@contextmanager
def _bare_worker(stack: Stack) -> Iterator[psutil.Process]:
    servers = ("temporal", "redis", "insight-generator", "sufficiency-scorer", "slm-executor")
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.bare", *map(stack.address, servers)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
