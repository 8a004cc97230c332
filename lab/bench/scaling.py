"""Requests per second at 1 to 64 concurrent, with a fast test engine, and the processor time of a request by process.

`python -m lab.bench.scaling`. In turns and on the same servers it runs two bare Temporal workflows with as many
activities (bench.bare): one whose activities do nothing, and one that calls the models.
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
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import numpy as np
import psutil
from rich.progress import track
from temporalio.client import Client

from lab.bench import bare
from lab.bench.common import Figures, quantiles, report
from lab.bench.request_load import QUESTION, processor_seconds, weigh
from lab.training.metrics import ratio_of_means
from services.gateway.admission import Admission
from tandem import AsyncClient
from tandem.local.supervisor import Stack
from tandem.method.profile.profile import load_profile
from tandem.method.request.request import SolveRequest
from tests.stacks import SCRIPTED_PROFILES, scripted_stack

_BARE_WORKER = "bare-worker"
_SYSTEM = "system"
Request = Callable[[], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class _Options:
    widths: list[int]
    requests: int
    rounds: int


@dataclass(slots=True)
class _Measured:
    """One way of answering at one width: requests per second by round, seconds by request, processor seconds by
    process.
    """

    rates: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    processor: Counter[str] = field(default_factory=Counter)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument(
        "--widths", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64], help="concurrent requests"
    )
    arguments.add_argument("--requests", type=int, default=64, help="at each width, in each round")
    arguments.add_argument("--rounds", type=int, default=3)
    report("scaling", asyncio.run(_measure(_Options(**vars(arguments.parse_args())))))


async def _measure(options: _Options) -> Figures:
    with scripted_stack() as stack, _bare_worker(stack) as worker:
        temporal = await Client.connect(stack.address("temporal"))
        async with AsyncClient(stack.gateway) as client:
            ways = _ways(client, temporal)
            for request in ways.values():
                await _rate(request, 8, 4)  # warm up
            points = [await _at_width(width, ways, options, stack, worker) for width in track(options.widths)]
            load = await weigh(stack, client, temporal, QUESTION, 50, 1)
    return {"requests": options.requests, "rounds": options.rounds, "points": points, "a_request": load}


def _ways(client: AsyncClient, temporal: Client) -> dict[str, Request]:
    profile = load_profile("scripted", (SCRIPTED_PROFILES,))
    admission = Admission({"scripted": profile}, "scripted", {"scripted": len})

    async def run_bare_workflow() -> None:
        await temporal.execute_workflow(bare.BareWorkflow.run, "how?", id=uuid4().hex, task_queue=bare.QUEUE)

    async def run_calling_workflow() -> None:
        task = admission.admit(SolveRequest("", QUESTION, "scripted"), "")
        await temporal.execute_workflow(bare.CallingWorkflow.run, task, id=task.request_id, task_queue=bare.QUEUE)

    return {
        _SYSTEM: lambda: client.ask(QUESTION),
        "bare_workflow": run_bare_workflow,
        "bare_workflow_that_calls": run_calling_workflow,
    }


async def _at_width(
    width: int, ways: dict[str, Request], options: _Options, stack: Stack, worker: psutil.Process
) -> Figures:
    """Run every way in each round, and note the processor time that it used."""
    measured = {name: _Measured() for name in ways}
    for _ in range(options.rounds):
        for name, request in ways.items():
            before = processor_seconds(stack, [(_BARE_WORKER, worker)])
            rate, seconds = await _rate(request, options.requests, width)
            measured[name].processor.update(processor_seconds(stack, [(_BARE_WORKER, worker)]) - before)
            measured[name].rates.append(rate)
            measured[name].seconds += seconds
    return {"concurrent": width, **_figures(measured), "bare_worker_memory_mb": round(worker.memory_info().rss / 1e6)}


def _figures(measured: dict[str, _Measured]) -> Figures:
    system = measured[_SYSTEM]
    rates = np.array(system.rates)
    per_request = {
        name: {process: round(1000 * s / len(each.seconds), 2) for process, s in sorted(each.processor.items())}
        for name, each in measured.items()
    }
    return {
        "requests_per_second": {name: float(np.mean(each.rates)) for name, each in measured.items()},
        "relative_to": {
            name: vars(ratio_of_means(rates, np.array(each.rates)))
            for name, each in measured.items()
            if name != _SYSTEM
        },
        "latency_ms": quantiles([1000 * s for s in system.seconds]),
        "processor_ms_per_request": per_request,
        "most_used": max(per_request[_SYSTEM], key=lambda process: per_request[_SYSTEM][process]),
    }


async def _rate(request: Request, count: int, width: int) -> tuple[float, list[float]]:
    """Requests per second, and the seconds of each."""
    slots, seconds = asyncio.Semaphore(width), []

    async def one() -> None:
        async with slots:
            started = time.perf_counter()
            await request()
            seconds.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(count)))
    return count / (time.perf_counter() - started), seconds


@contextmanager
def _bare_worker(stack: Stack) -> Iterator[psutil.Process]:
    servers = ("temporal", "redis", "insight-generator", "sufficiency-scorer", "slm-executor")
    process = subprocess.Popen(
        [sys.executable, "-m", "lab.bench.bare", *map(stack.address, servers)], stdout=subprocess.PIPE, text=True
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
