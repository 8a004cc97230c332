"""KEDA scales what the chart tells it to: workers by Temporal's backlog, with their certificates; small models by
Prometheus's count of requests; the large model to no pod and back.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tandem import AsyncClient, to_dict
from tests.e2e.k8s import keda, monitoring, temporal_tls
from tests.e2e.k8s.cluster import Cluster
from tests.e2e.k8s.monitoring import Prometheus
from tests.e2e.k8s.release import NAME, Release, eventually
from tests.e2e.k8s.values import MODEL_KEYS, scripted_profile

pytestmark = [pytest.mark.timeout(1200), pytest.mark.alone]
# 48 tokens of insight, 60 of answer: half a minute, so that the pools fill and not the processors
WORK = "[ms=300 slm_eos=60] {}"
CALLERS = 60
SCALED = ("worker", "insight-generator", "slm-executor")
QUICKLY = {"enabled": True, "kind": "keda", "pollingSeconds": 2, "cooldownSeconds": 20}


def values(release: Release, prometheus: Prometheus) -> dict[str, Any]:
    profile = scripted_profile().replace("[execution]\n", "[execution]\nllm_unavailable_timeout_seconds = 120\n")
    by_requests = {**QUICKLY, "prometheusAddress": prometheus.address}
    on_any_node = {key: {"gpus": 0, "pool": "slm"} for key in MODEL_KEYS}
    return {
        **on_any_node,
        "metrics": {"serviceMonitor": {"enabled": True, "interval": monitoring.INTERVAL}},
        "temporal": temporal_tls.values(release),
        "profile": {"name": "scripted", "files": {"profile.toml": profile}},
        "worker": {"maxLlm": 8, "autoscaling": {**QUICKLY, "minReplicas": 1, "maxReplicas": 3, "target": 5}},
        "slmExecutor": {
            **on_any_node["slmExecutor"],
            "autoscaling": {**by_requests, "minReplicas": 1, "maxReplicas": 3, "target": 8},
        },
        "insightGenerator": {
            **on_any_node["insightGenerator"],
            "autoscaling": {**by_requests, "minReplicas": 0, "maxReplicas": 2, "target": 16},
        },
    }


@pytest.fixture(scope="module")
def scaled(cluster: Cluster, prometheus: Prometheus) -> Iterator[Release]:
    keda.install(cluster)
    release = Release(cluster, "scaled", scripted=True)
    release.prepare()
    temporal_tls.install(release)
    release.upgrade("--install", values=values(release, prometheus))
    yield release
    release.remove(waits=True)  # KEDA lets its objects go
    keda.remove(cluster)


def ready(release: Release) -> dict[str, int]:
    """Pods that are ready, by component."""
    names = [f"{NAME}-{component}" for component in SCALED]
    found = json.loads(release.kubectl("get", "deployments", *names, "-o", "json"))["items"]
    counts = {each["metadata"]["name"]: each["status"].get("readyReplicas", 0) for each in found}
    return {component: counts[f"{NAME}-{component}"] for component in SCALED}


async def asked(release: Release, number: int) -> dict[str, Any]:
    async with AsyncClient(release.gateway) as client:
        return to_dict(await client.ask(WORK.format(number)))


async def until(release: Release, expected: dict[str, int], seconds: float) -> None:
    def look() -> bool:
        found = ready(release)
        return all(found[component] == count for component, count in expected.items())

    await asyncio.to_thread(eventually, f"pods {expected}", look, seconds)


async def test_pods_come_with_the_load_and_go_with_it_and_no_request_is_lost(scaled: Release) -> None:
    await until(scaled, {"worker": 1, "slm-executor": 1, "insight-generator": 0}, 240)
    results: list[dict[str, Any]] = []
    first = await asked(scaled, -1)
    assert first["usage"]["llm"]["output_tokens"], first
    assert any("large model" in note and "waited for" in note for note in first["notes"]), first["notes"]
    grown = asyncio.create_task(until(scaled, {"worker": 3, "slm-executor": 3, "insight-generator": 2}, 240))

    async def caller(number: int) -> None:
        while not grown.done():
            results.append(await asked(scaled, number))
        results.append(await asked(scaled, number))

    await asyncio.gather(*(caller(number) for number in range(CALLERS)), grown)
    await until(scaled, {"worker": 1, "slm-executor": 1, "insight-generator": 0}, 300)
    assert len(results) >= CALLERS
    assert all(result["reasoning"] for result in results)
    assert {note for result in results for note in result["notes"] if "waited" not in note} == set()
