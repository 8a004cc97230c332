"""What the HTTP gateway adds to a stream over gRPC, and whether many streams at once last: `python -m lab.bench.edge`.

First the same chat by gRPC and by HTTP in turns: time to the first piece of the answer, to the end, and per piece. Then
`--streams` server-sent streams at once for `--seconds`: none may break, and the HTTP gateway's memory must not grow.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import numpy as np
import psutil
from rich.progress import track

from lab.bench.common import Figures, quantiles, report
from tandem import AnswerDelta, AsyncClient
from tandem.local.supervisor import Stack
from tests.stacks import pid_of, scripted_stack

_WARM_UP = 10
_ANSWER_TOKENS = 50
_POLL_SECONDS = 1.0
_TIMEOUT = httpx.Timeout(300.0)


@dataclass(frozen=True, slots=True)
class _Read:
    """Milliseconds from the start."""

    first: float
    end: float
    text: str


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=200)
    arguments.add_argument("--ms", type=float, default=5, help="per token of the test engine")
    arguments.add_argument("--streams", type=int, default=200)
    arguments.add_argument("--seconds", type=float, default=120)
    options = arguments.parse_args()
    with scripted_stack() as stack:
        added = asyncio.run(_added(stack, options.runs, options.ms))
        lasting = asyncio.run(_lasting(stack, options.streams, options.seconds))
    report("edge", {**added, "at_once": lasting})


async def _added(stack: Stack, runs: int, ms: float) -> Figures:
    question = f"[ms={ms} scores=0:0.9 slm=word_ slm_eos={_ANSWER_TOKENS + 1}] how?"
    by_grpc, by_http = [], []
    async with AsyncClient(stack.gateway) as client, httpx.AsyncClient(base_url=stack.http, timeout=_TIMEOUT) as http:
        for _ in track(range(_WARM_UP + runs), description="pairs"):
            by_grpc.append(await _grpc(client, question))
            by_http.append(await _http(http, question))
    del by_grpc[:_WARM_UP], by_http[:_WARM_UP]
    if {read.text for read in by_grpc} != {read.text for read in by_http}:
        raise SystemExit("the two ways gave different answers")
    pairs = list(zip(by_grpc, by_http, strict=True))
    per_token = [((h.end - h.first) - (g.end - g.first)) / _ANSWER_TOKENS for g, h in pairs]
    return {
        "first_grpc_ms": quantiles([read.first for read in by_grpc]),
        "first_http_ms": quantiles([read.first for read in by_http]),
        "first_added_ms": quantiles([h.first - g.first for g, h in pairs]),
        "end_grpc_ms": quantiles([read.end for read in by_grpc]),
        "end_http_ms": quantiles([read.end for read in by_http]),
        "end_added_ms": quantiles([h.end - g.end for g, h in pairs]),
        "per_token_added_ms": quantiles(per_token),
    }


async def _grpc(client: AsyncClient, question: str) -> _Read:
    started, first, texts = time.perf_counter(), 0.0, []
    async for event in client.solve(question, task="chat", threshold=0.8):
        if isinstance(event, AnswerDelta):
            first = first or time.perf_counter()
            texts.append(event.text)
    return _Read(1000 * (first - started), 1000 * (time.perf_counter() - started), "".join(texts).strip())


async def _http(http: httpx.AsyncClient, question: str) -> _Read:
    body = {"model": "scripted@0.8", "messages": [{"role": "user", "content": question}], "stream": True}
    started, first, texts = time.perf_counter(), 0.0, []
    async with http.stream("POST", "/v1/chat/completions", json=body) as reply:
        reply.raise_for_status()
        lines = [line async for line in _timed(reply)]
    for at, line in lines:
        for choice in json.loads(line)["choices"]:
            if text := choice["delta"].get("content"):
                first = first or at
                texts.append(text)
    return _Read(1000 * (first - started), 1000 * (lines[-1][0] - started), "".join(texts))


async def _timed(reply: httpx.Response) -> AsyncIterator[tuple[float, str]]:
    """(time, JSON) of each event but the last."""
    async for line in reply.aiter_lines():
        if line.startswith("data: {"):
            yield time.perf_counter(), line.removeprefix("data: ")


async def _lasting(stack: Stack, streams: int, seconds: float) -> Figures:
    """Each of `streams` readers asks again when its stream ends, until the time is over."""
    deadline = time.monotonic() + seconds
    process = psutil.Process(pid_of(stack, "http-gateway"))
    memory: list[float] = []
    broken: list[str] = []
    lengths: list[float] = []
    limits = httpx.Limits(max_connections=streams)

    async def reader(http: httpx.AsyncClient, number: int) -> None:
        question = f"[ms=200 scores=0:0.9 slm=word_ slm_eos=61] reader {number}"
        while time.monotonic() < deadline:
            try:
                read = await _http(http, question)
            except Exception as error:
                broken.append(repr(error))
                continue
            lengths.append(read.end)
            if len(read.text) < 60 - 1:
                broken.append(f"cut: {read.text!r}")

    async def watch() -> None:
        while True:
            memory.append(process.memory_info().rss / 1e6)
            await asyncio.sleep(_POLL_SECONDS)

    watching = asyncio.create_task(watch())
    async with httpx.AsyncClient(base_url=stack.http, timeout=_TIMEOUT, limits=limits) as http:
        await asyncio.gather(*(reader(http, number) for number in range(streams)))
    watching.cancel()
    quarter = max(1, len(memory) // 4)
    return {
        "streams": streams,
        "seconds": seconds,
        "ended": len(lengths),
        "broken": len(broken),
        "first_broken": broken[:3],
        "end_ms": quantiles(lengths),
        "memory_mb_second_quarter": round(float(np.median(memory[quarter : 2 * quarter])), 1),
        "memory_mb_last_quarter": round(float(np.median(memory[-quarter:])), 1),
    }


if __name__ == "__main__":
    main()
