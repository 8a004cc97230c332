"""Which pods a rate of requests needs: tokens a second, pods and GPU memory of each role, from the rates that a pod reaches.

Arithmetic of means with a utilisation below 1 as the reserve: arrivals are irregular, and a queue grows without bound at 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

GATEWAY_CORE_SECONDS, WORKER_CORE_SECONDS = 0.011, 0.041
"""Of one request: `make bench-scaling` (docs/sizing.md, Scale)."""
ACTIONS_WITHOUT_LLM, ACTIONS_WITH_LLM = 5.0, 10.2
"""Temporal's billable actions of a request that a trial or the first score ends, and of one that goes through three stages
(docs/weight.md)."""
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
    """`requests_per_second`, and what they need. Gateways and workers are counted with one core per pod. `actions_per_second`: what
    Temporal Cloud bills, without heartbeats.
    """

    requests_per_second: float
    roles: list[RoleNeed]
    gateways: int
    workers: int
    max_llm: int
    actions_per_second: float


def plan_capacity(
    requests_per_second: float,
    load: Load,
    rates: Mapping[str, PodRates],
    models: Mapping[str, Weights],
    utilisation: float = 0.7,
) -> Capacity:
    """`rates` and `models` by role: llm, scorer, slm. At least two gateways and workers, so that one can be replaced."""
    tokens = _tokens(load)
    roles = [
        _need(role, requests_per_second, tokens[role], rates[role], models[role], load, utilisation) for role in tokens
    ]
    workers = max(2, ceil(requests_per_second * WORKER_CORE_SECONDS / utilisation))
    return Capacity(
        requests_per_second,
        roles,
        gateways=max(2, ceil(requests_per_second * GATEWAY_CORE_SECONDS / utilisation)),
        workers=workers,
        max_llm=max(1, ceil(roles[0].replicas * rates["llm"].batch / workers)),
        actions_per_second=requests_per_second * actions_of(load),
    )


def actions_of(load: Load) -> float:
    """Temporal's billable actions of a mean request, without heartbeats: one every three seconds that a model works."""
    return ACTIONS_WITHOUT_LLM + load.llm_share * (ACTIONS_WITH_LLM - ACTIONS_WITHOUT_LLM)


def _tokens(load: Load) -> dict[str, tuple[float, float]]:
    """Read and written by each role for one request. Scorer and executor read the insight too; earlier stages come from the cache."""
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
