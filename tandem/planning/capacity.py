"""Which pods a rate of requests needs: tokens a second, pods and GPU memory of each role, from the rates that a pod
reaches.

Arithmetic of means with a utilisation below 1 as the reserve: arrivals are irregular, and a queue grows without bound
at 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from tandem.method.timeouts import Timeouts

GATEWAY_CORE_SECONDS, WORKER_CORE_SECONDS = 0.013, 0.043
"""Of one request: `make bench-scaling` (docs/sizing.md, Scale)."""
ACTIONS_WITHOUT_LLM, ACTIONS_WITH_LLM = 5.0, 10.2
"""Temporal's billable actions of a request that a trial or the first score ends, and of one that goes through three
stages (docs/weight.md), without heartbeats.
"""
REDIS_COMMANDS, TRANSITIONS = 160.0, 21.0
"""Of a request of three stages, of 56 tokens; transitions of Temporal's state without heartbeats (docs/weight.md)."""
POLLERS = 26
"""Of a worker, as Temporal's library sets them: five for each kind of task that its three queues have, one for pushed
cancels.
"""
READERS = {"llm": 3, "scorer": 0, "slm": 2}
"""While the large model writes, gateway, worker and generator each wait at a connection to Redis; then gateway and
executor.
"""
ACTIVITIES = {"llm": 2, "scorer": 0, "slm": 1}
"""While it writes, its activity and the one that waits for its stages run; each heartbeats."""
HEARTBEAT_SECONDS = Timeouts.heartbeat_interval.total_seconds()
_ROUNDING = 1e-9
_OVERHEAD = 1.1  # activations, CUDA's context and fragments, of weights and cache


@dataclass(frozen=True, slots=True)
class Load:
    """Mean tokens of one request: its prompt, the insight that the large model writes, the small model's answer.

    `llm_share`: requests that ask the large model at all, of 1.
    """

    question: float
    insight: float
    answer: float
    llm_share: float = 1.0


@dataclass(frozen=True, slots=True)
class PodRates:
    """What one pod reads and writes, tokens a second, with `batch` sequences at once."""

    input: float
    output: float
    batch: int = 16


@dataclass(frozen=True, slots=True)
class Weights:
    """Bytes of a model's weights, and of the cache for each token of a sequence; 0 where that is unknown."""

    weights: float
    kv_per_token: float = 0.0


@dataclass(frozen=True, slots=True)
class PodLimits:
    """What the chart gives each pod: streams and processor cores of a gateway, cores of a worker."""

    gateway_streams: int
    gateway_cores: float
    worker_cores: float


@dataclass(frozen=True, slots=True)
class RoleNeed:
    """Of one role at one rate of requests. `at_once`: sequences that run, on all pods together.

    `gpu_bytes` of one pod, with a full batch; `utilisation` of the pods that there are.
    """

    role: str
    input_per_second: float
    output_per_second: float
    replicas: int
    utilisation: float
    at_once: float
    gpu_bytes: float


@dataclass(frozen=True, slots=True)
class Capacity:
    """`requests_per_second`, and what they need. `streams`: requests that run at once, each a stream of a gateway.
    `gateways_by`: pods for those streams, and for the work. `actions_per_second`: what Temporal Cloud bills, heartbeats
    included. `connections` of Redis that wait for something to be written, on all pods together.
    """

    requests_per_second: float
    roles: list[RoleNeed]
    gateways: int
    gateways_by: Mapping[str, int]
    workers: int
    max_llm: int
    streams: float
    actions_per_second: float
    transitions_per_second: float
    pollers: int
    redis_commands_per_second: float
    connections: float


def plan_capacity(
    requests_per_second: float,
    load: Load,
    rates: Mapping[str, PodRates],
    models: Mapping[str, Weights],
    pod: PodLimits,
    utilisation: float = 0.7,
) -> Capacity:
    """`rates` and `models` by role: llm, scorer, slm. At least two gateways and workers, so that one can be
    replaced.
    """
    tokens = _tokens(load)
    roles = [
        _need(role, requests_per_second, tokens[role], rates[role], models[role], load, utilisation) for role in tokens
    ]
    workers = max(2, ceil(requests_per_second * WORKER_CORE_SECONDS / pod.worker_cores / utilisation))
    at_once = {need.role: need.at_once for need in roles}
    streams = sum(at_once.values())
    gateways_by = {
        "streams": ceil(streams / pod.gateway_streams / utilisation),
        "cores": ceil(requests_per_second * GATEWAY_CORE_SECONDS / pod.gateway_cores / utilisation),
    }
    heartbeats = sum(at_once[role] * number for role, number in ACTIVITIES.items()) / HEARTBEAT_SECONDS
    return Capacity(
        requests_per_second,
        roles,
        gateways=max(2, *gateways_by.values()),
        gateways_by=gateways_by,
        workers=workers,
        max_llm=max(1, ceil(roles[0].replicas * rates["llm"].batch / workers)),
        streams=streams,
        actions_per_second=requests_per_second * actions_of(load) + heartbeats,
        transitions_per_second=requests_per_second * TRANSITIONS + heartbeats,
        pollers=workers * POLLERS,
        redis_commands_per_second=requests_per_second * REDIS_COMMANDS,
        connections=sum(at_once[role] * number for role, number in READERS.items()),
    )


def actions_of(load: Load) -> float:
    """Temporal's billable actions of a mean request, without heartbeats."""
    return ACTIONS_WITHOUT_LLM + load.llm_share * (ACTIONS_WITH_LLM - ACTIONS_WITHOUT_LLM)


def _tokens(load: Load) -> dict[str, tuple[float, float]]:
    """Read and written by each role for one request. Scorer and executor read the insight too; earlier stages come from
    the cache.
    """
    insight = load.llm_share * load.insight
    return {
        "llm": (load.llm_share * load.question, insight),
        "scorer": (load.question + insight, 0.0),
        "slm": (load.question + insight, load.answer),
    }


def _need(
    role: str,
    per_second: float,
    tokens: tuple[float, float],
    rates: PodRates,
    model: Weights,
    load: Load,
    utilisation: float,
) -> RoleNeed:
    read, written = tokens
    pods = per_second * (read / rates.input + written / rates.output)
    replicas = max(1, ceil(pods / utilisation - _ROUNDING))
    # Little's law: a sequence of a full batch is written at its share of the pod's rate.
    at_once = per_second * (read / rates.input + written * rates.batch / rates.output)
    longest = load.question + load.insight + (load.answer if role == "slm" else 0)
    cache = model.kv_per_token * longest * rates.batch
    return RoleNeed(
        role,
        per_second * read,
        per_second * written,
        replicas,
        pods / replicas,
        at_once,
        _OVERHEAD * (model.weights + cache),
    )
