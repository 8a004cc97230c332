"""What everything that guards a system costs: TLS between all processes, API keys, limits, encrypted texts, against none of it.

`python -m lab.bench.guards`. Two local stacks with the test engine take turns: a request that is stopped, one of four stages, and rounds
of several requests at once.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from rich.progress import track

from lab.bench.common import Figures, quantiles, report
from lab.training.metrics import Interval, bootstrap, ratio_of_means
from tandem import Client
from tandem.keys import KeyFile
from tandem.local.certificates import authority_file
from tandem.tenants import TenantFile
from tests.keys import key_file
from tests.stacks import environment, scripted_stack

_LIMITS = {"requests_per_minute": 10**6, "tokens_per_minute": 10**9, "concurrent_requests": 10**4, "usd_per_day": 1e5}
_STOPPED = "[ms=2 scores=16:0.9 slm_eos=8] how?"
_STAGES = "[ms=5 slm_eos=8] how?"
_AT_ONCE = 8
_WARM_UP = 5
_OFF, _ON = "off", "on"
Times = dict[str, dict[str, list[float]]]
"""By guards and what was measured, one entry per turn."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=100, help="turns of single requests")
    arguments.add_argument("--rounds", type=int, default=10, help=f"turns of {_AT_ONCE} requests at once, 3 each")
    options = arguments.parse_args()
    with ExitStack() as stack:
        clients = {_OFF: stack.enter_context(_unguarded()), _ON: stack.enter_context(_guarded())}
        times = _take_turns(clients, options.runs, options.rounds)
    report("guards", _figures(times))


@contextmanager
def _unguarded() -> Iterator[Client]:
    with scripted_stack() as stack, Client(stack.gateway) as client:
        yield client


@contextmanager
def _guarded() -> Iterator[Client]:
    with tempfile.TemporaryDirectory() as folder:
        keys, tenants = KeyFile(Path(folder) / "keys.json"), TenantFile(Path(folder) / "tenants.json")
        _, key = keys.create("acme")
        tenants.set("acme", _LIMITS)
        guards = {
            "TANDEM_API_KEYS": str(keys.path),
            "TANDEM_TENANTS": str(tenants.path),
            "TANDEM_PAYLOAD_KEYS": key_file(Path(folder), "a"),
        }
        with scripted_stack(guards, tls=True) as stack:
            with environment({"TANDEM_CA_FILE": str(authority_file(stack.certificates))}):
                client = Client(stack.gateway, key)
            with client:
                yield client


def _take_turns(clients: Mapping[str, Client], runs: int, rounds: int) -> Times:
    times: Times = {name: {"stop_ms": [], "request_ms": [], "round_seconds": []} for name in clients}
    for run in track(range(_WARM_UP + runs), description="requests"):
        for name, client in clients.items():
            stopped, whole = client.ask(_STOPPED).timings_ms.cancel, 1000 * _seconds(client, 1)
            if run >= _WARM_UP:
                times[name]["stop_ms"].append(stopped)
                times[name]["request_ms"].append(whole)
    for _ in track(range(rounds), description="rounds"):
        for name, client in clients.items():
            times[name]["round_seconds"].append(_seconds(client, _AT_ONCE))
    return times


def _seconds(client: Client, at_once: int) -> float:
    """Of one request, or of three for each of several callers."""
    started = time.perf_counter()
    if at_once == 1:
        client.ask(_STAGES)
    else:
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(lambda _: client.ask(_STAGES), range(3 * at_once)))
    return time.perf_counter() - started


def _figures(times: Times) -> Figures:
    return {
        **{name: {what: quantiles(values) for what, values in by.items()} for name, by in times.items()},
        "at_once": _AT_ONCE,
        "on_to_off": {
            what: vars(_ratio_of_medians(times[_ON][what], times[_OFF][what])) for what in ("stop_ms", "request_ms")
        }
        | {"round_seconds": vars(ratio_of_means(*(np.array(times[name]["round_seconds"]) for name in (_ON, _OFF))))},
    }


def _ratio_of_medians(ours: Sequence[float], theirs: Sequence[float]) -> Interval:
    a, b = np.array(ours), np.array(theirs)
    return bootstrap(lambda rows: float(np.median(a[rows]) / np.median(b[rows])), len(a))


if __name__ == "__main__":
    main()
