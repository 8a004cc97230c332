"""What 1,000 and 100,000 requests a minute need, simulated from the processor time of one request: `python -m
lab.bench.scale`.

A simulation, not a measurement. Requests arrive at random (Poisson). Each visits gateway, Temporal, worker and Redis in
turn, as often as it does in `lab.bench.weight`, and takes a core of its process for its share of the measured time
(exponential). Pods have one core and take work from one queue; as many as keep them `BUSY` at most. Above `CELL`
requests a second there are cells, each with a Temporal and a Redis of its own, and one cell is simulated. The models
are not: what they take is theirs in either case. Last, the pods that `tandem plan --capacity` plans get as many
requests, for as long as its models take.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from lab.bench.common import RESULTS, Figures, quantiles, report
from lab.verbs.capacity import pod_limits
from tandem.planning.capacity import (
    ACTIVITIES,
    HEARTBEAT_SECONDS,
    READERS,
    TRANSITIONS,
    Capacity,
    Load,
    PodRates,
    Weights,
    plan_capacity,
)

RATES = (1_000, 100_000)  # requests a minute
_PLANNED = (1_000, 10_000)
SHARDS = 512  # as deploy/umbrella has them
CELL = 170.0  # requests a second: some 10,000 a minute
BUSY = 0.7
_REQUESTS, _SEED = 20_000, 7
_PARTS = ("gateway", "temporal", "worker", "redis")


@dataclass(frozen=True, slots=True)
class Weight:
    """Of one request: milliseconds of a core by process, Redis commands, Temporal's billable actions, and its visits to
    a worker.
    """

    processor_ms: Mapping[str, float]
    redis_commands: float
    actions: float
    visits: int

    @classmethod
    def read(cls, name: str) -> Weight:
        found = json.loads((RESULTS / f"{name}.json").read_text())
        visits = found["temporal_calls"]
        tasks = sum(n for call, n in visits.items() if call.startswith("Respond"))
        times = {part: found["processor_ms"][part] for part in _PARTS}
        return cls(times, found["redis_commands"], found["temporal_actions"], round(tasks))


def main() -> None:
    weights = {"before": Weight.read("weight-before"), "now": Weight.read("weight")}
    report(
        "scale",
        {f"{rate} a minute, {name}": simulated(rate / 60, weight) for rate in RATES for name, weight in weights.items()}
        | {f"{rate} a minute, pods": peaks(planned(rate / 60), np.random.default_rng(_SEED)) for rate in _PLANNED},
    )


def planned(per_second: float) -> Capacity:
    """For the pair and the rates of docs/sizing.md."""
    rates = {"llm": PodRates(9000, 1500, 64), "scorer": PodRates(20000, 20000, 64), "slm": PodRates(20000, 4000, 64)}
    models = {"llm": Weights(64e9, 262144), "scorer": Weights(14e9, 57344), "slm": Weights(14e9, 57344)}
    return plan_capacity(per_second, Load(200, 300, 600), rates, models, pod_limits())


def simulated(per_second: float, weight: Weight) -> Figures:
    """Of all cells together; waits are those of one."""
    cells = ceil(per_second / CELL)
    rate = per_second / cells
    pods = {part: max(1, ceil(rate * ms / 1000 / BUSY)) for part, ms in weight.processor_ms.items()}
    for part in ("gateway", "worker"):
        pods[part] = max(2, pods[part])  # so that one can be replaced
    waits = waits_ms(rate, weight, pods, np.random.default_rng(_SEED))
    return {
        "simulated": True,
        "requests_per_second": round(per_second, 1),
        "cells": cells,
        "cores": {part: cells * number for part, number in pods.items()},
        "busy": {part: round(rate * weight.processor_ms[part] / 1000 / pods[part], 2) for part in _PARTS},
        "waits_for_a_core_ms": quantiles(waits),
        "redis_commands_per_second": round(per_second * weight.redis_commands),
        "temporal_actions_per_second": round(per_second * weight.actions),
    }


def waits_ms(rate: float, weight: Weight, pods: Mapping[str, int], random: np.random.Generator) -> list[float]:
    """For each request, how long it waited for cores in all."""
    steps = _steps(weight)
    free = {part: [0.0] * number for part, number in pods.items()}
    waited = np.zeros(_REQUESTS)
    due = [(at, request, 0) for request, at in enumerate(np.cumsum(random.exponential(1 / rate, _REQUESTS)))]
    heapq.heapify(due)
    while due:
        at, request, step = heapq.heappop(due)
        part, mean = steps[step]
        begins = max(at, heapq.heappop(free[part]))
        ends = begins + random.exponential(mean)
        heapq.heappush(free[part], ends)
        waited[request] += begins - at
        if step + 1 < len(steps):
            heapq.heappush(due, (ends, request, step + 1))
    return [float(each) for each in 1000 * waited]


def peaks(found: Capacity, random: np.random.Generator) -> Figures:
    """What the planned pods have at once. Requests arrive at random, and each goes to a gateway and a shard at random;
    the models take exponential times with the plan's means, one after the other.
    """
    llm, slm = (need.at_once / found.requests_per_second for need in (found.roles[0], found.roles[-1]))
    begins = np.cumsum(random.exponential(1 / found.requests_per_second, _REQUESTS))
    writes = begins + random.exponential(llm, _REQUESTS)
    ends = writes + random.exponential(slm, _REQUESTS)
    gateways = random.integers(found.gateways, size=_REQUESTS)
    now = random.uniform(begins[_REQUESTS // 2], begins[-1], 100)
    running, writing = _at(now, begins, ends), _at(now, begins, writes)
    heartbeats = (ACTIVITIES["llm"] * (writes - begins) + ACTIVITIES["slm"] * (ends - writes)) / HEARTBEAT_SECONDS
    by_shard = np.bincount(random.integers(SHARDS, size=_REQUESTS), TRANSITIONS + heartbeats)
    return {
        "pods": found.gateways + found.workers + sum(need.replicas for need in found.roles),
        "streams": round(float(running.mean())),
        "most_streams_of_a_gateway": max(
            _most(begins[gateways == each], ends[gateways == each]) for each in range(found.gateways)
        ),
        "redis_connections": round(float((READERS["llm"] * writing + READERS["slm"] * (running - writing)).mean())),
        "most_transitions_of_a_shard_per_second": round(float(by_shard.max() / (begins[-1] - begins[0])), 1),
    }


def _at(moments: Any, begins: Any, ends: Any) -> Any:
    """How many run at each of the moments."""
    return np.searchsorted(begins, moments) - np.searchsorted(np.sort(ends), moments)


def _most(begins: Any, ends: Any) -> int:
    """How many run at once at most."""
    order = np.argsort(np.concatenate([ends, begins]), kind="stable")
    return int(np.cumsum(np.concatenate([-np.ones(len(ends)), np.ones(len(begins))])[order]).max())


def _steps(weight: Weight) -> list[tuple[str, float]]:
    """Part and mean seconds of each step: the gateway at both ends, between them Temporal, a worker and Redis in
    turn.
    """
    turns = [(part, weight.processor_ms[part] / weight.visits / 1000) for part in ("temporal", "worker", "redis")]
    edge = ("gateway", weight.processor_ms["gateway"] / 2 / 1000)
    return [edge, *turns * weight.visits, edge]


if __name__ == "__main__":
    main()
