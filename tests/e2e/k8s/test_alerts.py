"""Prometheus reads the real pods: every rule of the chart fires by a fault and is quiet again after it, every panel has data.

The rules run a second time with windows and delays of seconds, for a test cannot wait for theirs: tests/unit/alerts.yaml, which
promtool runs, holds what they say at their own times.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from tandem import AsyncClient, RequestError, StageCompleted
from tandem.paths import REPOSITORY
from tests.e2e.k8s import monitoring, trained_pair
from tests.e2e.k8s.beside import beside
from tests.e2e.k8s.cluster import Cluster
from tests.e2e.k8s.monitoring import Prometheus
from tests.e2e.k8s.release import NAME, Release, eventually, installed, pod_names
from tests.e2e.k8s.values import scripted_profile

pytestmark = pytest.mark.timeout(900)
RULES = yaml.safe_load((REPOSITORY / "deploy" / "alerts" / "tandem.yaml").read_text())
ALWAYS = {"TandemWatchdog"}
# By promtool alone: they take hours, or what others need.
ELSEWHERE = {"TandemIsNotRead", "TandemCertificateEnds", "TandemProcessIsGone"}
ALERTS = [rule["alert"] for group in RULES["groups"] for rule in group["rules"]]
PANELS = json.loads((REPOSITORY / "deploy" / "dashboards" / "tandem.json").read_text())["panels"]
WINDOW = "10s"
QUICK = "quick"  # name of the rules with windows of seconds
TRIED_AND_SHADOWED = """
[trial]
stages = [0]
max_tokens = 48

[shadow]
share = 1.0
"""
TENANT = "thrifty"
ENDLESS = "regex:(a+)+b"  # takes 2**40 steps to see that forty letters do not match


def profile(**changed: str) -> dict[str, Any]:
    text = scripted_profile(unavailable_timeout_seconds="3", **changed) + TRIED_AND_SHADOWED
    return {"name": "scripted", "files": {"profile.toml": text}}


def values(**changed: str) -> dict[str, Any]:
    return {
        "metrics": {
            "serviceMonitor": {"enabled": True, "interval": monitoring.INTERVAL},
            "prometheusRule": {
                "enabled": True,
                "runbookUrl": "https://docs.example.org/operate.html",
                "slo": {"seconds": 10},
            },
        },
        "profile": profile(**changed),
        "profiles": [trained_pair.values()],
        "tenants": {"limits": {"tenants": {TENANT: {"usd_per_day": 0.02}}}},
    }


def quick_rules(namespace: str) -> dict[str, Any]:
    """The chart's rules, with windows and delays of seconds."""
    text = re.sub(r"\[\d+[mh]\]", f"[{WINDOW}]", json.dumps(RULES)).replace('le=\\"60.0\\"', 'le=\\"10.0\\"')
    rules = json.loads(re.sub(r'"for": "\d+[mh]"', '"for": "2s"', text))
    metadata = {"name": QUICK, "namespace": namespace}
    return {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "metadata": metadata, "spec": rules}


@pytest.fixture(scope="module")
def watched(cluster: Cluster, prometheus: Prometheus) -> Iterator[Release]:
    with installed(Release(cluster, "watched", scripted=True), values()) as release:
        cluster.apply([quick_rules(release.namespace)])
        eventually("the rules", lambda: len(prometheus.states(QUICK)) == len(ALERTS), 120)
        yield release


# -- faults, each as long as its block -----------------------------------------------------------------------------


async def ask(release: Release, count: int, script: str, **options: Any) -> list[str]:
    """Requests at once: "" or what each was refused with."""

    async def one(number: int) -> str:
        try:
            async with AsyncClient(release.gateway) as client:
                await client.ask(f"[{script}] {number}?", **options)
            return ""
        except RequestError as error:
            return str(error)

    return await asyncio.gather(*(one(number) for number in range(count)))


@asynccontextmanager
async def traffic(release: Release, script: str, count: int = 2, **options: Any) -> AsyncIterator[None]:
    """Requests one after the other, `count` at once."""

    async def on_and_on() -> None:
        while True:
            await ask(release, count, script, **options)

    async with beside(on_and_on()):
        yield


@asynccontextmanager
async def without(release: Release, component: str, script: str = "slm_eos=5") -> AsyncIterator[None]:
    """Traffic while this component has no pods."""
    deployment = f"deploy/{NAME}-{component}"
    replicas = release.get(deployment)["spec"]["replicas"]
    release.kubectl("scale", deployment, "--replicas=0")
    try:
        async with traffic(release, script):
            yield
    finally:
        release.kubectl("scale", deployment, f"--replicas={replicas}")
        await asyncio.to_thread(eventually, component, lambda: release.is_ready(component), 120)


@asynccontextmanager
async def http_without_gateways(release: Release) -> AsyncIterator[None]:
    """Requests to the HTTP gateway, which finds no gateway."""
    async with without(release, "gateway"), beside(ask_over_http(release)):
        yield


async def ask_over_http(release: Release) -> None:
    """Until cancelled."""
    address = release.get("service", f"{NAME}-http-gateway")["spec"]["clusterIP"]
    while True:
        with suppress(OSError):
            await asyncio.to_thread(urllib.request.urlopen, f"http://{address}:8080/v1/models", timeout=5)


@asynccontextmanager
async def frozen_generator(release: Release) -> AsyncIterator[None]:
    """The large model's process stands still in the moment in which its insight suffices."""

    pods = pod_names(release, "insight-generator")

    async def freeze() -> None:
        async with AsyncClient(release.gateway) as client:
            while True:
                with suppress(RequestError):
                    async for event in client.solve("[ms=100 score_ms=2000 scores=16:0.9 slm_eos=5] slow?"):
                        if isinstance(event, StageCompleted) and event.stage == 1:  # its score takes two seconds
                            signal_generators(pods, signal.SIGSTOP)
                            asyncio.get_running_loop().call_later(4, signal_generators, pods, signal.SIGCONT)

    async with beside(freeze()):  # its last thaw comes from the loop
        yield


def signal_generators(pods: set[str], number: signal.Signals) -> None:
    """To the processes of these pods' insight generators, which run on this machine."""
    words = ["pgrep", "-f", "^python -m services.insight_generator"]
    for process in subprocess.run(words, capture_output=True, text=True, check=False).stdout.split():
        if Path(f"/proc/{process}/root/etc/hostname").read_text().strip() in pods:
            os.kill(int(process), number)


@asynccontextmanager
async def changed_profile(release: Release, script: str, **changed: str) -> AsyncIterator[None]:
    await asyncio.to_thread(release.upgrade, values=values(**changed))
    try:
        async with traffic(release, script):
            yield
    finally:
        await asyncio.to_thread(release.upgrade, values=values())


@asynccontextmanager
async def dying_generators(release: Release) -> AsyncIterator[None]:
    """The large model's pod is killed again and again while it writes."""

    async def kill() -> None:
        while True:
            await asyncio.to_thread(release.wait_until_ready, "insight-generator")
            await asyncio.sleep(4)  # requests find it and it writes
            pods = pod_names(release, "insight-generator")
            await asyncio.to_thread(
                release.kubectl, "delete", "pod", *pods, "--grace-period=0", "--force", "--ignore-not-found"
            )

    async with traffic(release, "ms=150 slm_eos=5", 8):
        async with beside(kill()):
            yield
        await asyncio.to_thread(release.wait_until_ready, "insight-generator")


@asynccontextmanager
async def spent_budget(release: Release) -> AsyncIterator[None]:
    """Until the tenant is refused one request, which may cost a tenth of its budget; afterwards it may spend more."""
    while not any(await ask(release, 1, "slm_eos=60", tenant=TENANT)):
        pass
    yield
    more = {"tenants": {"limits": {"tenants": {TENANT: {"usd_per_day": 1}}}}}
    await asyncio.to_thread(release.upgrade, values={**values(), **more})


@asynccontextmanager
async def shifted_questions(release: Release) -> AsyncIterator[None]:
    """120 questions unlike those that the second pair's scorer was trained on; afterwards 180 like them, of the 200 that count."""

    async def ask_many(script: str, count: int) -> None:
        for _ in range(count // 20):
            assert not any(await ask(release, 20, script, profile=trained_pair.PAIR))

    await ask_many(trained_pair.SCRIPT_UNLIKE, 120)
    yield
    await ask_many(trained_pair.SCRIPT_LIKE_TRAINING, 180)


# By the alerts that one fault fires, with spaces between.
FAULTS: dict[str, Callable[[Release], AbstractAsyncContextManager[None]]] = {
    "TandemRequestsFail": lambda release: without(release, "slm-executor"),
    "TandemAnswersFailFast TandemAnswersFailSlowly": lambda release: without(release, "worker"),
    "TandemAnswersAreLate": lambda release: traffic(release, "ms=500 slm_eos=60", 8),
    "TandemHttpFails": http_without_gateways,
    "TandemDependencyFails": lambda release: without(release, "demo-redis"),
    "TandemLargeModelUnavailable": lambda release: without(release, "insight-generator"),
    "TandemScorerFailsOpen TandemDegradedRequests": lambda release: without(release, "sufficiency-scorer"),
    "TandemStopIsSlow": frozen_generator,
    "TandemSavesNothing": lambda release: changed_profile(release, "slm_eos=60", output_tokens="10"),
    "TandemLostAttempts": dying_generators,
    "TandemChecksEndInError": lambda release: traffic(release, f"slm={'a' * 40} slm_eos=40", checks=[ENDLESS]),
    "TandemQueueGrows": lambda release: traffic(release, "scores=0:0.9 ms=100 slm_eos=60", 60),
    "TandemSpansAreLost": lambda release: without(release, "demo-jaeger"),
    "TandemTenantNearsItsBudget": spent_budget,
    "TandemQuestionsHaveShifted": shifted_questions,
}


def test_every_pod_is_read_and_every_rule_is_evaluated(watched: Release, prometheus: Prometheus) -> None:
    pods = {pod["metadata"]["name"] for pod in watched.get("pods", "-l", f"app.kubernetes.io/name={NAME}")["items"]}
    ours = {name for name in pods if "-demo-" not in name}

    def read() -> set[str]:
        return {each["metric"]["pod"] for each in prometheus.query(f'up{{namespace="{watched.namespace}"}} == 1')}

    eventually("every pod", lambda: read() == ours)
    eventually("every rule", lambda: prometheus.states(f"{watched.namespace}-{NAME}").keys() == set(ALERTS))
    assert {alert for alerts in FAULTS for alert in alerts.split()} == set(ALERTS) - ALWAYS - ELSEWHERE


@pytest.mark.parametrize("alerts", FAULTS)
async def test_an_alert_fires_by_its_fault_and_is_quiet_after_it(
    watched: Release, prometheus: Prometheus, alerts: str
) -> None:
    async def until(what: str, state: str) -> None:
        look = lambda: {prometheus.states(QUICK)[alert] for alert in alerts.split()} == {state}  # noqa: E731 - a condition
        await asyncio.to_thread(eventually, f"{alerts}: {what}", look, 180)

    await until("quiet before", "inactive")
    async with FAULTS[alerts](watched):
        await until("firing", "firing")
    async with traffic(watched, "scores=16:0.9 slm_eos=5"):
        await until("quiet again", "inactive")


async def test_every_query_of_the_dashboard_has_data_under_load(watched: Release, prometheus: Prometheus) -> None:
    queries = "\n".join(target["expr"] for panel in PANELS for target in panel["targets"])
    chosen = queries.replace("$__rate_interval", WINDOW).replace("$namespace", watched.namespace)
    of_others = ("vllm:", "redis_")  # no model of these is vLLM's, and Redis has no exporter
    empty = {query for query in chosen.splitlines() if not any(name in query for name in of_others)}

    def look() -> bool:
        found = {query for query in empty if any(has_value(series) for series in prometheus.query(query))}
        empty.difference_update(found)
        return not empty

    async with traffic(watched, "scores=16:0.9 slm_eos=5", checks=["regex:[0-9]"]), beside(ask_over_http(watched)):
        await ask(watched, 2, trained_pair.SCRIPT_LIKE_TRAINING, profile=trained_pair.PAIR)
        with suppress(TimeoutError):
            await asyncio.to_thread(eventually, "data", look, 60)
    assert not empty


def has_value(series: dict[str, Any]) -> bool:
    return str(series["value"][1]) != "NaN"
