"""What does it cost to ask callers who they are and to hold to their limits, and does an answer's time tell whether another
tenant's request exists?

`python -m lab.bench.access --runs 500`. Two local stacks with the test engine, one of which asks for API keys and has a file of
tenants; calls of all kinds take turns, in an order that is drawn for each turn, since a call is faster after some than after
others.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from uuid import uuid4

import numpy as np

from lab.bench.common import Figures, median_interval, quantiles, report
from tandem import Client, RequestError
from tandem.keys import KeyFile
from tandem.tenants import TenantFile
from tests import stacks

_QUESTION = "[slm_eos=5 scores=0:0.9] whose is it?"
_WARM_UP = 20
_OF_ACCESS = {
    "another_less_unknown_ms": ("another_tenants_id_ms", "unknown_id_ms"),
    "key_less_none_ms": ("call_with_key_ms", "call_without_key_ms"),
}
_OF_LIMITS = {"limits_less_none_ms": ("accepted_with_limits_ms", "accepted_without_limits_ms")}
_LIMITS = {  # all that are counted, and never reached
    "requests_per_minute": 10**6,
    "tokens_per_minute": 10**9,
    "concurrent_requests": 10**4,
    "usd_per_day": 1e5,
    "usd_per_month": 1e6,
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=500)
    runs = arguments.parse_args().runs
    with ExitStack() as stack:
        keys = KeyFile(Path(stack.enter_context(tempfile.TemporaryDirectory())) / "keys.json")
        _, acme = keys.create("acme")
        _, other = keys.create("other")
        _, limited = keys.create("limited")
        tenants = TenantFile(keys.path.with_name("tenants.json"))
        tenants.set("limited", _LIMITS)
        guards: dict[str, str | None] = {"TANDEM_API_KEYS": str(keys.path), "TANDEM_TENANTS": str(tenants.path)}
        guarded = stack.enter_context(stacks.scripted_stack(guards)).gateway
        plain = stack.enter_context(stacks.scripted_stack()).gateway
        owner, stranger, bounded, anyone = (
            stack.enter_context(Client(address, key))
            for address, key in ((guarded, acme), (guarded, other), (guarded, limited), (plain, ""))
        )
        known = owner.ask(_QUESTION).request_id
        calls: dict[str, Callable[[], float]] = {
            "another_tenants_id_ms": lambda: _whole(lambda: stranger.get(known)),
            "unknown_id_ms": lambda: _whole(lambda: stranger.get(uuid4().hex)),
            "call_with_key_ms": lambda: _whole(owner.profiles),
            "call_without_key_ms": lambda: _whole(anyone.profiles),
            "accepted_with_limits_ms": lambda: _to_accepted(bounded),
            "accepted_without_limits_ms": lambda: _to_accepted(owner),
        }
        times = _take_turns(calls, runs)
    limits = [name for name in times if name.startswith("accepted")]
    report("access", {**_figures(times, [n for n in times if n not in limits]), **_differences(times, _OF_ACCESS)})
    report("limits", {**_figures(times, limits), **_differences(times, _OF_LIMITS)})


def _figures(times: dict[str, list[float]], names: list[str]) -> Figures:
    return {name: quantiles(times[name]) for name in names}


def _take_turns(calls: dict[str, Callable[[], float]], runs: int) -> dict[str, list[float]]:
    """Milliseconds of each call."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    dice, order = random.Random(0), list(calls)
    for run in range(runs + _WARM_UP):
        dice.shuffle(order)
        for name in order:
            seconds = calls[name]()
            if run >= _WARM_UP:
                times[name].append(seconds * 1000)
    return times


def _whole(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    with suppress(RequestError):  # the two unknown ones
        call()
    return time.perf_counter() - begin


def _to_accepted(client: Client) -> float:
    """Until a request is admitted; it is then read to its end, so that none runs beside the next call."""
    begin = time.perf_counter()
    events = client.solve(_QUESTION)
    next(events)
    taken = time.perf_counter() - begin
    for _ in events:
        pass
    return taken


def _differences(times: dict[str, list[float]], pairs: dict[str, tuple[str, str]]) -> Figures:
    """Medians of the paired differences in ms, with a 95 % interval."""
    return {name: median_interval(np.subtract(times[a], times[b])) for name, (a, b) in pairs.items()}


if __name__ == "__main__":
    main()
