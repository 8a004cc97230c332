"""How much slower is a tenant's request while another tenant floods the system?

`python -m bench.fairness --runs 100`. A local stack with the test engine whose large model has `--slots` (by default the chart's);
one tenant asks one request after another, alone and while another one keeps eight callers a slot busy, in turns. The same with a
stack that has no file of tenants, where requests are served as they come. The fewer slots, the slower the test engine, so that
slots are short and not the processor.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bench.common import Figures, quantiles, report
from tandem import AsyncClient, RequestError
from tandem.tenants import TenantFile
from tests import stacks
from training.metrics import bootstrap

_CALLERS_A_SLOT = 8
_WARM_UP = 2
_SLOTS_A_SECOND = 5


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=100)
    arguments.add_argument("--rounds", type=int, default=10)
    arguments.add_argument(
        "--concurrent", type=int, help="each tenant's requests at once; below the slots one stays free"
    )
    arguments.add_argument("--slots", type=int, default=16, help="of the large model")
    given = arguments.parse_args()
    flood = Flood(given.slots)
    runs, rounds = given.runs, given.rounds
    with tempfile.TemporaryDirectory() as folder:
        file = TenantFile(Path(folder) / "tenants.json")
        file.set("", {"usd_per_month": 1000, "concurrent_requests": given.concurrent})
        shared = asyncio.run(_measured(flood, runs, rounds, {"TANDEM_TENANTS": str(file.path)}))
        if given.concurrent:
            report("fairness_limited", {**asdict(flood), "in_turns": _figures(*shared)})
            return
        plain = asyncio.run(_measured(flood, max(2 * rounds, runs // 4), rounds, {}))
    name = "fairness" if given.slots == arguments.get_default("slots") else f"fairness_{given.slots}"
    report(name, {**asdict(flood), "in_turns": _figures(*shared), "as_they_come": _figures(*plain)})


@dataclass(frozen=True)
class Flood:
    slots: int

    @property
    def callers(self) -> int:
        return _CALLERS_A_SLOT * self.slots

    def question(self, length: float = 1.0) -> str:
        """Whose 16 tokens of insight hold a slot for so long that all together make five requests a second, times `length`."""
        milliseconds = length * 1000 * self.slots / _SLOTS_A_SECOND / 16
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
                async with _flooded(client, flood):
                    await _ask_in_turn(client, flood, flooded, _WARM_UP, runs // rounds)
    return alone, flooded


async def _ask_in_turn(client: AsyncClient, flood: Flood, seconds: list[float], warm_up: int, runs: int) -> None:
    for run in range(warm_up + runs):
        begin = time.perf_counter()
        await client.ask(flood.question(), tenant="quiet")
        if run >= warm_up:
            seconds.append(time.perf_counter() - begin)


@contextlib.asynccontextmanager
async def _flooded(client: AsyncClient, flood: Flood) -> AsyncIterator[None]:
    """Until the block ends; what runs then is waited for. No two requests take equally long, else all slots come free at once."""
    is_over, dice = asyncio.Event(), random.Random(0)

    async def keep_asking() -> None:
        while not is_over.is_set():
            try:
                await client.ask(flood.question(dice.uniform(0.5, 1.5)), tenant="loud")
            except RequestError as error:
                await asyncio.sleep(error.retry_after_s or 0.1)

    callers = [asyncio.create_task(keep_asking()) for _ in range(flood.callers)]
    try:
        yield
    finally:
        is_over.set()
        await asyncio.gather(*callers)


def _figures(alone: list[float], flooded: list[float]) -> Figures:
    """Times in ms, and how many times as long the 95th percentile is during the flood, with a 95 % interval."""
    first, second = np.array(alone) * 1000, np.array(flooded) * 1000

    def ratio(rows: np.ndarray) -> float:
        return float(np.percentile(second[rows], 95) / np.percentile(first[rows], 95))

    every: Callable[[np.ndarray], float] = ratio
    found = bootstrap(every, min(len(first), len(second)))
    return {
        "alone_ms": quantiles(list(first)),
        "flooded_ms": quantiles(list(second)),
        "p95_alone_ms": float(np.percentile(first, 95)),
        "p95_flooded_ms": float(np.percentile(second, 95)),
        "p95_ratio": {"ratio": ratio(np.arange(len(first))), "low": found.low, "high": found.high},
    }


if __name__ == "__main__":
    main()
