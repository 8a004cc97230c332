"""Does a broken trace collector slow requests down? Interleaved requests to stacks whose collector works, is down, refuses or hangs.

`python -m lab.bench.exporter --runs 100`. Ratios are to a stack without an exporter, request by request in the same round; the
interval is a bootstrap over rounds. It also measures how long the slowest process takes to end on SIGTERM, and counts
exported and dropped spans.
"""

from __future__ import annotations

import argparse
import contextlib
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

from lab.bench.common import Figures, quantiles, report
from tandem import Client
from tandem.local.ports import free_port
from tandem.local.supervisor import Stack
from tests.e2e.collector import Collector
from tests.stacks import scripted_stack

_WARM_UP = 5
_QUESTION = "[ms=2 scores=16:0.9 slm_eos=20]"


class _RefusingCollector(Collector):
    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:
        context.abort(grpc.StatusCode.UNAVAILABLE, "no capacity")


@contextlib.contextmanager
def _silent() -> Iterator[str]:
    """The address of a server that accepts connections and never answers."""
    with socket.socket() as listener, futures.ThreadPoolExecutor(1) as pool:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        connections: list[socket.socket] = []

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connections.append(listener.accept()[0])

        pool.submit(accept)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        for connection in connections:
            connection.close()


def _traced(endpoint: str) -> contextlib.AbstractContextManager[Stack]:
    """A stack that exports to `endpoint`; empty: to nowhere. Its short queue makes drops visible within the bench."""
    return scripted_stack({"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint or None, "OTEL_BSP_MAX_QUEUE_SIZE": "512"})


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=100)
    options = arguments.parse_args()
    with contextlib.ExitStack() as contexts:
        well, refusing = Collector(), _RefusingCollector()
        contexts.callback(well.stop)
        contexts.callback(refusing.stop)
        endpoints = {
            "none": "",
            "well": well.endpoint,
            "down": f"http://127.0.0.1:{free_port()}",
            "refusing": refusing.endpoint,
            "silent": contexts.enter_context(_silent()),
        }
        stacks = {name: contexts.enter_context(_traced(endpoint)) for name, endpoint in endpoints.items()}
        times = _interleave(stacks, options.runs)
        report("exporter", {"runs": options.runs, "collectors": {n: _figures(n, times, s) for n, s in stacks.items()}})


def _interleave(stacks: dict[str, Stack], runs: int) -> dict[str, list[float]]:
    """Milliseconds of each request. Every round sends one request to each stack, in a new order."""
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


def _figures(name: str, times: dict[str, list[float]], stack: Stack) -> Figures:
    ours, base = np.array(times[name]), np.array(times["none"])
    draws = np.random.default_rng(0).integers(0, len(ours), (2000, len(ours)))
    ratios = np.median(ours[draws], axis=1) / np.median(base[draws], axis=1)
    return {
        "request_ms": quantiles(times[name]),
        "ratio_of_medians": round(float(np.median(ours) / np.median(base)), 4),
        "ratio_ci95": [round(float(q), 4) for q in np.percentile(ratios, [2.5, 97.5])],
        "spans": _spans(stack),
        "shutdown_seconds": _shutdown_seconds(stack),
    }


def _spans(stack: Stack) -> dict[str, float]:
    """The SDK's counters of spans, summed over all processes: exported, failed, dropped."""
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
