"""How much slower is a tenant's request while another tenant floods the system?

`python -m lab.bench.fairness --runs 100`. A local stack with the test engine whose large model has `--slots` (by
default the chart's); one tenant asks one request after another, alone and while another one keeps eight callers a slot
busy, in turns. The same with a stack that has no file of tenants, where requests are served as they come. The fewer
slots, the slower the test engine, so that slots are short and not the processor.

`python -m lab.bench.fairness --callers 120`: of requests so short that the processor is what all wait for; the goal is
a 99th percentile of at most 1.5 times that of the tenant alone. The other tenant's callers are a process of their own:
what they cost is theirs.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np

from lab.bench.common import Figures, quantiles, report
from lab.training.metrics import bootstrap
from tandem import AsyncClient, RequestError
from tandem.access.tenants import TenantFile
from tests import stacks

_CALLERS_A_SLOT = 8
_WARM_UP = 2
_SLOTS_A_SECOND = 5
_FLOOD_SECONDS = 2.0  # until every caller has asked


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=100)
    arguments.add_argument("--rounds", type=int, default=10)
    arguments.add_argument(
        "--concurrent", type=int, help="each tenant's requests at once; below the slots one stays free"
    )
    arguments.add_argument("--slots", type=int, default=16, help="of the large model")
    arguments.add_argument("--callers", type=int, help="of the other tenant, and all requests are short")
    given = arguments.parse_args()
    flood = Flood(given.slots, given.callers or _CALLERS_A_SLOT * given.slots, is_short=given.callers is not None)
    runs, rounds = given.runs, given.rounds
    with tempfile.TemporaryDirectory() as folder:
        file = TenantFile(Path(folder) / "tenants.json")
        file.set("", {"usd_per_month": 1000, "concurrent_requests": given.concurrent})
        shared = asyncio.run(_measured(flood, runs, rounds, {"TANDEM_TENANTS": str(file.path)}))
        if given.concurrent:
            report("fairness_limited", {**asdict(flood), "in_turns": _figures(*shared)})
            return
        plain = asyncio.run(_measured(flood, max(2 * rounds, runs // 4), rounds, {}))
    default = "fairness_short" if flood.is_short else "fairness"
    name = default if given.slots == arguments.get_default("slots") else f"{default}_{given.slots}"
    report(name, {**asdict(flood), "in_turns": _figures(*shared), "as_they_come": _figures(*plain)})


@dataclass(frozen=True)
class Flood:
    slots: int
    callers: int
    is_short: bool = False

    def question(self, length: float = 1.0) -> str:
        """Whose 16 tokens of insight hold a slot for so long that all together make five requests a second, times
        `length`.
        """
        milliseconds = 2.0 if self.is_short else length * 1000 * self.slots / _SLOTS_A_SECOND / 16
        return f"[ms={milliseconds:.0f} scores=16:0.9 slm_eos=1] whose turn is it?"


async def _measured(flood: Flood, runs: int, rounds: int, settings: dict[str, str]) -> tuple[list[float], list[float]]:
    """Seconds of each request of the quiet tenant: alone, and during the flood."""
    alone: list[float] = []
    flooded: list[float] = []
    with ExitStack() as stack:
        gateway = stack.enter_context(stacks.scripted_stack({"TANDEM_MAX_LLM": str(flood.slots), **settings})).gateway
        async with AsyncClient(gateway) as client:
            for number in range(rounds):
                await _ask_in_turn(client, flood, alone, _WARM_UP if number == 0 else 0, runs // rounds)
                with _flooded(gateway, flood):
                    await _ask_in_turn(client, flood, flooded, _WARM_UP, runs // rounds)
    return alone, flooded


async def _ask_in_turn(client: AsyncClient, flood: Flood, seconds: list[float], warm_up: int, runs: int) -> None:
    for run in range(warm_up + runs):
        begin = time.perf_counter()
        await client.ask(flood.question(), tenant="quiet")
        if run >= warm_up:
            seconds.append(time.perf_counter() - begin)


@contextlib.contextmanager
def _flooded(gateway: str, flood: Flood) -> Iterator[None]:
    """Until the block ends; what runs then is waited for."""
    spawning = multiprocessing.get_context("spawn")
    has_begun, is_over = spawning.Event(), spawning.Event()
    process = spawning.Process(target=_flood_until, args=(gateway, flood, has_begun, is_over))
    process.start()
    try:
        has_begun.wait()
        yield
    finally:
        is_over.set()
        process.join()


def _flood_until(gateway: str, flood: Flood, has_begun: Event, is_over: Event) -> None:
    asyncio.run(_keep_flooding(gateway, flood, has_begun, is_over))


async def _keep_flooding(gateway: str, flood: Flood, has_begun: Event, is_over: Event) -> None:
    """No two requests take equally long, else all slots come free at once."""
    dice = random.Random(0)

    async def keep_asking(client: AsyncClient) -> None:
        while not is_over.is_set():
            try:
                await client.ask(flood.question(dice.uniform(0.5, 1.5)), tenant="loud")
            except RequestError as error:
                await asyncio.sleep(error.retry_after_s or 0.1)

    async with AsyncClient(gateway) as client:
        callers = [asyncio.create_task(keep_asking(client)) for _ in range(flood.callers)]
        await asyncio.sleep(_FLOOD_SECONDS)
        has_begun.set()
        await asyncio.gather(*callers)


def _figures(alone: list[float], flooded: list[float]) -> Figures:
    """Times in ms, and how many times as long the 95th and 99th percentiles are during the flood, the first with a 95 %
    interval.
    """
    first, second = np.array(alone) * 1000, np.array(flooded) * 1000

    def ratio(rows: np.ndarray, percentile: int = 95) -> float:
        return float(np.percentile(second[rows], percentile) / np.percentile(first[rows], percentile))

    every = np.arange(min(len(first), len(second)))
    found = bootstrap(ratio, len(every))
    return {
        "alone_ms": quantiles(list(first)),
        "flooded_ms": quantiles(list(second)),
        "p95_alone_ms": float(np.percentile(first, 95)),
        "p95_flooded_ms": float(np.percentile(second, 95)),
        "p95_ratio": {"ratio": ratio(every), "low": found.low, "high": found.high},
        "p99_ratio": ratio(every, 99),
    }


if __name__ == "__main__":
    main()
