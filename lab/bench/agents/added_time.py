"""What Tandem and LiteLLM's proxy add to a request of an agent's size, in turns before the same scripted vendor:
`make bench-agents`.

Streams of chat completions, bodies of 4.5, 32 and 350 KB. Where the machine has other work, only the ratios count.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from rich.progress import track

from lab.bench.agents.stack import PAIR, http_address, vendor_stack
from lab.bench.agents.vendor import LARGE, vendor_process
from lab.bench.common import Figures, commit_of, quantiles, save
from tandem.local.supervisor import Stack
from tandem.paths import REPOSITORY
from tests.litellm_proxy import KEY, PROXY, litellm_proxy
from tests.stacks import pid_of

_SIZES = {"4.5 KB": 4_500, "32 KB": 32_000, "350 KB": 350_000}
_WARM_UP, _AT_ONCE = 5, 16
_MODEL = LARGE["openai"]
Ways = Mapping[str, tuple[str, str]]
"""Address and model of each way to the vendor."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--runs", type=int, default=50)
    arguments.add_argument("--at-once", type=int, default=160, help="requests, 16 at a time; 0: none")
    arguments.add_argument("--sizes", default=",".join(_SIZES))
    arguments.add_argument("--no-proxy", action="store_true", help="without LiteLLM's proxy")
    options = arguments.parse_args()
    if not options.no_proxy and not PROXY.is_file():
        raise SystemExit("LiteLLM's proxy is missing; run `make tools TOOLS=litellm`, or give --no-proxy")
    with ExitStack() as started:
        url = started.enter_context(vendor_process())
        stack = started.enter_context(vendor_stack(url, "openai"))
        ways = {"direct": (url, _MODEL), "tandem": (http_address(stack), PAIR)}
        if not options.no_proxy:
            folder = Path(started.enter_context(tempfile.TemporaryDirectory()))
            deployment = {"model": f"openai/{_MODEL}", "api_base": f"{url}/v1", "api_key": "none"}
            proxy = started.enter_context(litellm_proxy(folder, {_MODEL: [deployment]}, {}))
            ways["litellm"] = (proxy.removesuffix("/v1"), _MODEL)
        sizes = options.sizes.split(",")
        found = {name: _in_turns(ways, _SIZES[name], options.runs, stack) for name in sizes}
        many = {name: _at_once(ways, _SIZES[name], options.at_once) for name in sizes if options.at_once}
    figures = {"command": "make bench-agents", "commit": commit_of(REPOSITORY), "one_by_one": found, "at_once": many}
    print(_table(save("agents-added-time", figures)))


def _in_turns(ways: Ways, size: int, runs: int, stack: Stack) -> Figures:
    taken: dict[str, list[float]] = {name: [] for name in ways}
    first: dict[str, list[float]] = {name: [] for name in ways}
    busy: dict[str, float] = {}
    for number in track(range(_WARM_UP + runs), description=f"{size} bytes"):
        busy = busy if number > _WARM_UP else _processor_seconds(stack)
        for name, (url, model) in ways.items():
            begun, ended = _ask(url, model, size, f"{name}{number}")
            if number >= _WARM_UP:
                first[name].append(begun)
                taken[name].append(ended)
    added = {n: [a - b for a, b in zip(taken[n], taken["direct"], strict=True)] for n in ways if n != "direct"}
    return {
        "ms": {name: quantiles(values) for name, values in taken.items()},
        "first_byte_ms": {name: quantiles(values) for name, values in first.items()},
        "added_ms": {name: quantiles(values) for name, values in added.items()},
        "processor_ms": {
            name: round(1000 * (seconds - busy[name]) / runs, 1) for name, seconds in _processor_seconds(stack).items()
        },
    }


def _processor_seconds(stack: Stack) -> dict[str, float]:
    """What each process of Tandem's has used since it began: the same on a busy machine."""
    times = {row.name: psutil.Process(pid_of(stack, row.name)).cpu_times() for row in stack.status()}
    return {name: taken.user + taken.system for name, taken in times.items()}


def _at_once(ways: Ways, size: int, requests: int) -> Figures:
    """Requests a second."""
    found = {}
    for name, (url, model) in ways.items():
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            ask = partial(_ask, url, model, size)
            list(pool.map(ask, map(str, range(_AT_ONCE))))
            began = time.perf_counter()
            list(pool.map(ask, map(str, range(requests))))
            found[name] = round(requests / (time.perf_counter() - began), 1)
    return {"n": requests, "a_second": found}


def _ask(url: str, model: str, size: int, name: str) -> tuple[float, float]:
    """Milliseconds to the first byte of the body, and to its end. Raises RuntimeError."""
    body = json.dumps({"model": model, "stream": True, "messages": _messages(size, name)})
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)
    headers = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
    began = time.perf_counter()
    try:
        connection.request("POST", "/v1/chat/completions", body, headers)
        reply = connection.getresponse()
        said = reply.read(1)
        first = time.perf_counter()
        said += reply.read()
    finally:
        connection.close()
    if reply.status != 200 or b"[DONE]" not in said:
        raise RuntimeError(f"{url} answers {reply.status}: {said[:300]!r}")
    return 1000 * (first - began), 1000 * (time.perf_counter() - began)


def _messages(size: int, name: str) -> list[dict[str, str]]:
    """Of agents' shape: a long system message, and turns of some kilobytes each."""
    piece = min(4000, size // 4)
    words = random.Random(0).choices(("alpha", "beta", "gamma", "delta", "theta"), k=piece // 5)
    text = " ".join(words)[:piece]
    turns = [{"role": ("user", "assistant")[n % 2], "content": text} for n in range(max(1, size // piece - 2) // 2 * 2)]
    return [{"role": "system", "content": text}, *turns, {"role": "user", "content": f"{name}: go on"}]


def _table(whole: Figures) -> str:
    """One line for each size; times in ms, p50, and requests a second."""
    lines = ["| body | direct | tandem | litellm | ratio | added: tandem, litellm | 16 at once: tandem, litellm |"]
    lines.append("|---" * 7 + "|")
    for size, found in whole["one_by_one"].items():
        ms = {name: values["p50"] for name, values in found["ms"].items()}
        added = {name: values["p50"] for name, values in found["added_ms"].items()}
        rates = whole["at_once"].get(size, {}).get("a_second", {})
        other = ms.get("litellm")
        cells = [size, ms["direct"], ms["tandem"], other, round(ms["tandem"] / other, 2) if other else "",
                 f"{added['tandem']}, {added.get('litellm', '')}",
                 f"{rates.get('tandem', '')}, {rates.get('litellm', '')}"]  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
