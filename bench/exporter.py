"""Does a broken trace collector slow a request down? Interleaved requests to stacks whose collector is well, down, refusing or silent.

`python -m bench.exporter --runs 100`. Ratios are to a stack without an exporter, request by request in the same round; the
interval is a bootstrap over rounds. Also how long each process takes to end on SIGTERM, and the spans that were dropped.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import socket
import time
from collections.abc import Iterator
from concurrent import futures
from typing import Any
from urllib.request import urlopen

import grpc
import numpy as np
import psutil
from rich.progress import track

from bench.common import local_stack, quantiles, report
from tandem import Client
from tandem.local.layout import free_port
from tandem.local.supervisor import Stack
from tests.e2e.collector import Collector

_WARM_UP = 5
_QUESTION = "[ms=2 scores=16:0.9 slm_eos=20]"


class _Refusing(Collector):
    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:
        context.abort(grpc.StatusCode.UNAVAILABLE, "no room")


@contextlib.contextmanager
def _silent() -> Iterator[str]:
    """Accepts connections and never says a word."""
    with socket.socket() as listener, futures.ThreadPoolExecutor(1) as pool:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        kept: list[socket.socket] = []

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    kept.append(listener.accept()[0])

        pool.submit(accept)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        for connection in kept:
            connection.close()


@contextlib.contextmanager
def _traced(endpoint: str) -> Iterator[Stack]:
    before = os.environ.pop("OTEL_EXPORTER_OTLP_ENDPOINT", None)
    if endpoint:
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
    # A short queue, so that drops are seen within the bench.
    os.environ["OTEL_BSP_MAX_QUEUE_SIZE"] = "512"
    try:
        with local_stack("scripted", scripted=True) as stack:
            yield stack
    finally:
        os.environ.pop("OTEL_EXPORTER_OTLP_ENDPOINT", None)
        if before is not None:
            os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = before


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=100)
    options = arguments.parse_args()
    with contextlib.ExitStack() as open_now:
        well, refusing = Collector(), _Refusing()
        open_now.callback(well.stop)
        open_now.callback(refusing.stop)
        endpoints = {
            "none": "",
            "well": well.endpoint,
            "down": f"http://127.0.0.1:{free_port(0)}",
            "refusing": refusing.endpoint,
            "silent": open_now.enter_context(_silent()),
        }
        stacks = {name: open_now.enter_context(_traced(endpoint)) for name, endpoint in endpoints.items()}
        times = _interleave(stacks, options.runs)
        report("exporter", {"runs": options.runs, "collectors": {n: _describe(n, times, s) for n, s in stacks.items()}})


def _interleave(stacks: dict[str, Stack], runs: int) -> dict[str, list[float]]:
    """Milliseconds of each request; every round asks each stack once, in a new order."""
    clients = {name: Client(stack.gateway) for name, stack in stacks.items()}
    times: dict[str, list[float]] = {name: [] for name in stacks}
    order = list(stacks)
    for number in track(range(_WARM_UP + runs), description="rounds"):
        random.Random(number).shuffle(order)
        for name in order:
            started = time.perf_counter()
            clients[name].ask(f"{_QUESTION} {number}")
            if number >= _WARM_UP:
                times[name].append((time.perf_counter() - started) * 1000)
    for client in clients.values():
        client.close()
    return times


def _describe(name: str, times: dict[str, list[float]], stack: Stack) -> dict[str, Any]:
    mine, base = np.array(times[name]), np.array(times["none"])
    draws = np.random.default_rng(0).integers(0, len(mine), (2000, len(mine)))
    ratios = np.median(mine[draws], axis=1) / np.median(base[draws], axis=1)
    return {
        "request_ms": quantiles(times[name]),
        "ratio_of_medians": round(float(np.median(mine) / np.median(base)), 4),
        "ratio_ci95": [round(float(q), 4) for q in np.percentile(ratios, [2.5, 97.5])],
        "spans": _spans(stack),
        "shutdown_seconds": _shutdown_seconds(stack),
    }


def _spans(stack: Stack) -> dict[str, float]:
    """The SDK's own count over all processes: exported, failed, dropped."""
    found: dict[str, float] = {}
    for component in stack.processes:
        port = stack.ports[component.name].get("metrics")
        if not port or component.name in ("temporal", "jaeger"):
            continue
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as reply:
            for line in reply.read().decode().splitlines():
                series = re.match(r"(otel_sdk_\w+_total)\{(.*)\} (\S+)", line)
                if series:
                    error = re.search(r'error_type="([^"]+)"', series[2])
                    key = f"{series[1]}{' ' + error[1] if error else ''}"
                    found[key] = found.get(key, 0) + float(series[3])
    return found


def _shutdown_seconds(stack: Stack) -> float:
    """The slowest of our processes, from SIGTERM to its end."""
    with stack.supervisor() as supervisor:
        infos = [i for i in supervisor.getAllProcessInfo() if i["name"] not in ("redis", "temporal", "jaeger")]
    processes = [psutil.Process(info["pid"]) for info in infos]
    started = time.perf_counter()
    for process in processes:
        process.terminate()
    psutil.wait_procs(processes, timeout=30)
    return round(time.perf_counter() - started, 2)


if __name__ == "__main__":
    main()
