"""How much slower is a tenant's request while another tenant makes noise of nine kinds?

`python -m lab.bench.noise`. A local stack with the test engines, two tenants with keys; one asks one
short request after another, alone and beside `--callers` callers of the other, in turns; the goal is a median and a
95th percentile of at most 2.0 times those of the tenant alone. The other tenant's callers are a process of their own,
of the lowest priority: a caller that is refused asks again when it may.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, aclosing
from multiprocessing.synchronize import Event
from pathlib import Path
from uuid import uuid4

import numpy as np

from lab.bench.common import Figures, report
from tandem import AsyncClient, RequestError
from tandem.access.keys import KeyFile
from tandem.access.tenants import TenantFile
from tandem.client.request import solve_request
from tests import stacks

QUESTION = "[ms=2 scores=16:0.9 slm_eos=1] whose turn is it?"
LONG = "[ms=20 llm_eos=400] how long does this take?"
FINISHED = "finished"
_LARGE = "x" * 3_000_000
_HISTORY, _AT_ONCE = 300, 8  # requests that lists find
_FLOOD_SECONDS = 1.5  # until every caller has asked
_WARM_UP = 2
_REFUSED_SECONDS = 0.1
Pattern = Callable[[AsyncClient], Awaitable[object]]


async def _rejoin(client: AsyncClient) -> None:
    await client.ask(QUESTION, request_id=FINISHED)


async def _join_unknown(client: AsyncClient) -> None:
    for look_up in (client.get, client.cancel):
        with contextlib.suppress(RequestError):
            await look_up(uuid4().hex)
    await client.get(uuid4().hex)


async def _read_slowly(client: AsyncClient) -> None:
    """It takes the first event, and no other."""
    async with aclosing(client.solve(LONG)) as events:
        await anext(events)
        await asyncio.sleep(5)


async def _leave(client: AsyncClient) -> None:
    """It cancels its request when that has begun."""
    async with aclosing(client.solve(LONG)) as events:
        await anext(events)


async def _count_tokens(client: AsyncClient) -> None:
    await client.count_tokens(solve_request("a word " * 250))


async def _upload(client: AsyncClient) -> None:
    async def content() -> AsyncIterator[bytes]:
        yield b"".join(json.dumps({"id": str(n), "question": QUESTION}).encode() + b"\n" for n in range(500))

    file = await client.batches.upload("noise.jsonl", content())
    await client.batches.files(limit=1000)
    await client.batches.delete(file.file_id)


PATTERNS: dict[str, Pattern] = {
    "new requests": lambda client: client.ask(QUESTION),
    "rejoins of a finished id": _rejoin,
    "unknown ids": _join_unknown,
    "lists of 1,000": lambda client: client.list(limit=1000),
    "bodies of 3 MB": lambda client: client.ask(_LARGE),
    "slow readers": _read_slowly,
    "cancelled requests": _leave,
    "counts of tokens": _count_tokens,
    "files written, listed, deleted": _upload,
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=30, help="requests of the quiet tenant, alone and beside each")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--callers", type=int, default=60)
    arguments.add_argument("--only", choices=PATTERNS, action="append")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        tenants, keys = TenantFile(Path(folder) / "tenants.json"), KeyFile(Path(folder) / "keys.json")
        tenants.set("", {"usd_per_month": 1000})
        quiet, loud = (keys.create(name)[1] for name in ("quiet", "loud"))
        settings = {"TANDEM_TENANTS": str(tenants.path), "TANDEM_API_KEYS": str(keys.path)}
        gateway = stack.enter_context(stacks.scripted_stack(settings)).gateway
        asyncio.run(_make_history(gateway, loud))
        found = {}
        for name in given.only or PATTERNS:
            found[name] = asyncio.run(_beside(name, gateway, quiet, loud, given.callers, given.runs, given.rounds))
            print(name, found[name], flush=True)
    print(table(found))
    if not given.only:
        report("noise", {"callers": given.callers, "patterns": found})


async def _make_history(gateway: str, key: str) -> None:
    async def ask_some(client: AsyncClient) -> None:
        for _ in range(_HISTORY // _AT_ONCE):
            await client.ask(QUESTION)

    async with AsyncClient(gateway, key) as client:
        await client.ask(QUESTION, request_id=FINISHED)
        await asyncio.gather(*(ask_some(client) for _ in range(_AT_ONCE)))


async def _beside(name: str, gateway: str, quiet: str, loud: str, callers: int, runs: int, rounds: int) -> Figures:
    alone, beside = list[float](), list[float]()
    async with AsyncClient(gateway, quiet) as client:
        for _ in range(rounds):
            alone += await _seconds(client, runs // rounds)
            with _noise(name, gateway, loud, callers):
                beside += await _seconds(client, runs // rounds)
    return _figures(alone, beside)


async def _seconds(client: AsyncClient, runs: int) -> list[float]:
    found = []
    for _ in range(_WARM_UP + runs):
        begin = time.perf_counter()
        await client.ask(QUESTION)
        found.append(time.perf_counter() - begin)
    return found[_WARM_UP:]


@contextlib.contextmanager
def _noise(name: str, gateway: str, key: str, callers: int) -> Iterator[None]:
    spawning = multiprocessing.get_context("spawn")
    has_begun, is_over = spawning.Event(), spawning.Event()
    process = spawning.Process(target=_make_noise, args=(name, gateway, key, callers, has_begun, is_over))
    process.start()
    try:
        has_begun.wait()
        yield
    finally:
        is_over.set()
        process.join()


def _make_noise(name: str, gateway: str, key: str, callers: int, has_begun: Event, is_over: Event) -> None:
    os.nice(19)

    async def keep_asking(client: AsyncClient) -> None:
        while not is_over.is_set():
            try:
                await PATTERNS[name](client)
            except RequestError as error:
                await asyncio.sleep(error.retry_after_s or _REFUSED_SECONDS)

    async def until_over() -> None:
        async with AsyncClient(gateway, key) as client:
            asking = [asyncio.create_task(keep_asking(client)) for _ in range(callers)]
            await asyncio.sleep(_FLOOD_SECONDS)
            has_begun.set()
            while not is_over.is_set():
                await asyncio.sleep(0.05)
            for each in asking:
                each.cancel()
            await asyncio.gather(*asking, return_exceptions=True)

    asyncio.run(until_over())


def _figures(alone: list[float], beside: list[float]) -> Figures:
    """Milliseconds."""
    found: Figures = {"n": len(alone)}
    for percentile in (50, 95):
        first, second = (float(np.percentile(each, percentile)) * 1000 for each in (alone, beside))
        found[f"p{percentile}"] = {"alone_ms": first, "beside_ms": second, "ratio": second / first}
    return found


def table(found: dict[str, Figures]) -> str:
    """In Markdown, for docs/tenants.md."""
    lines = [
        "| the other tenant's callers | n | p50 alone | beside | ratio | p95 alone | beside | ratio |",
        "|---" * 8 + "|",
    ]
    for name, figures in found.items():
        cells = [
            f"{figures[each]['alone_ms']:.0f} | {figures[each]['beside_ms']:.0f} | {figures[each]['ratio']:.2f}"
            for each in ("p50", "p95")
        ]
        lines.append(f"| {name} | {figures['n']} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
