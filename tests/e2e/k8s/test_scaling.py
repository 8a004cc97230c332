"""KEDA scales what the chart tells it to: workers by Temporal's backlog, with their certificates; small models by
Prometheus's count of requests; the large model to no pod and back. The curves are lab/bench/results/k8s-scaling.json
(`make scaling-curves`).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tandem import AsyncClient, to_dict
from tests.e2e.k8s import keda, monitoring, temporal_tls
from tests.e2e.k8s.beside import beside
from tests.e2e.k8s.cluster import Cluster
from tests.e2e.k8s.monitoring import Prometheus
from tests.e2e.k8s.release import NAME, Release, eventually
from tests.e2e.k8s.values import MODEL_KEYS, scripted_profile

pytestmark = [pytest.mark.timeout(1200), pytest.mark.alone]
CURVES = Path(__file__).parents[3] / "lab" / "bench" / "results" / "k8s-scaling.json"
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


@dataclass
class Curves:
    """What there was in each second, and how long each request took."""

    release: Release
    prometheus: Prometheus
    began: float = field(default_factory=time.monotonic)
    seconds: list[dict[str, Any]] = field(default_factory=list)
    requests: list[dict[str, float]] = field(default_factory=list)

    def sample(self) -> None:
        namespace = self.release.namespace
        waiting = f'tandem_engine_requests{{namespace="{namespace}",role="slm"}}'
        self.seconds.append(
            {
                "at": self._now(),
                "ready": ready(self.release),
                "waiting_tasks": self._waiting_tasks(),
                "small_model_requests": self.prometheus.value(f"sum({waiting})"),
            }
        )

    def _waiting_tasks(self) -> float:
        """As the autoscaler of the workers sees them."""
        spec = self.release.get("hpa", f"keda-hpa-{NAME}-worker")["spec"]
        names = [metric["external"]["metric"]["name"] for metric in spec["metrics"]]
        selector = f"labelSelector=scaledobject.keda.sh%2Fname%3D{NAME}-worker"
        path = f"/apis/external.metrics.k8s.io/v1beta1/namespaces/{self.release.namespace}"
        found = [
            json.loads(self.release.cluster.kubectl("get", "--raw", f"{path}/{name}?{selector}")) for name in names
        ]
        return sum(quantity(item["value"]) for each in found for item in each["items"])

    async def ask(self, number: int) -> dict[str, Any]:
        began = self._now()
        async with AsyncClient(self.release.gateway) as client:
            result = to_dict(await client.ask(WORK.format(number)))
        self.requests.append({"at": began, "seconds": round(self._now() - began, 2)})
        return result

    def write(self) -> None:
        table = {"bench": "k8s-scaling", "callers": CALLERS, "seconds": self.seconds, "requests": self.requests}
        CURVES.write_text(json.dumps(table) + "\n")

    def _now(self) -> float:
        return round(time.monotonic() - self.began, 2)


def quantity(text: str) -> float:
    """Of Kubernetes: 1500m is 1.5."""
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


@asynccontextmanager
async def recorded(curves: Curves) -> AsyncIterator[None]:
    async def record() -> None:
        while True:
            with suppress(RuntimeError):
                await asyncio.to_thread(curves.sample)
            await asyncio.sleep(1)

    async with beside(record()):
        yield


async def until(release: Release, expected: dict[str, int], seconds: float) -> None:
    def look() -> bool:
        found = ready(release)
        return all(found[component] == count for component, count in expected.items())

    await asyncio.to_thread(eventually, f"pods {expected}", look, seconds)


async def test_pods_come_with_the_load_and_go_with_it_and_no_request_is_lost(
    scaled: Release, prometheus: Prometheus
) -> None:
    await until(scaled, {"worker": 1, "slm-executor": 1, "insight-generator": 0}, 240)
    curves, results = Curves(scaled, prometheus), []
    async with recorded(curves):
        first = await curves.ask(-1)
        assert first["usage"]["llm"]["output_tokens"], first
        assert any("large model" in note and "waited for" in note for note in first["notes"]), first["notes"]
        grown = asyncio.create_task(until(scaled, {"worker": 3, "slm-executor": 3, "insight-generator": 2}, 240))

        async def caller(number: int) -> None:
            while not grown.done():
                results.append(await curves.ask(number))
            results.append(await curves.ask(number))

        await asyncio.gather(*(caller(number) for number in range(CALLERS)), grown)
        await until(scaled, {"worker": 1, "slm-executor": 1, "insight-generator": 0}, 300)
    curves.write()
    assert len(results) >= CALLERS
    assert all(result["reasoning"] for result in results)
    assert {note for result in results for note in result["notes"] if "waited" not in note} == set()
