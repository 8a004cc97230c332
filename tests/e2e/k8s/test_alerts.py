"""Prometheus reads the real pods: every rule of the chart fires by a fault and is quiet again after it, every panel has
data.

The rules run a second time with windows and delays of seconds, for a test cannot wait for theirs:
tests/unit/alerts.yaml, which promtool runs, holds what they say at their own times.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import yaml

from tandem.paths import REPOSITORY
from tests.e2e.k8s import trained_pair
from tests.e2e.k8s.beside import beside
from tests.e2e.k8s.cluster import Cluster
from tests.e2e.k8s.faults import FAULTS, ask, ask_over_http, traffic, values
from tests.e2e.k8s.monitoring import Prometheus
from tests.e2e.k8s.release import NAME, Release, eventually, installed

pytestmark = pytest.mark.timeout(900)
RULES = yaml.safe_load((REPOSITORY / "deploy" / "alerts" / "tandem.yaml").read_text())
ALWAYS = {"TandemWatchdog"}
# By promtool alone: they take hours, or what others need.
ELSEWHERE = {"TandemIsNotRead", "TandemCertificateEnds", "TandemProcessIsGone"}
ALERTS = [rule["alert"] for group in RULES["groups"] for rule in group["rules"]]
PANELS = json.loads((REPOSITORY / "deploy" / "dashboards" / "tandem.json").read_text())["panels"]
WINDOW = "10s"
QUICK = "quick"  # name of the rules with windows of seconds


def quick_rules(namespace: str) -> dict[str, Any]:
    """The chart's rules, with windows and delays of seconds."""
    text = re.sub(r"\[\d+[mhd]\]", f"[{WINDOW}]", json.dumps(RULES)).replace('le=\\"60.0\\"', 'le=\\"10.0\\"')
    rules = json.loads(re.sub(r'"((?:keep_firing_)?for)": "\d+[mh]"', r'"\1": "2s"', text))
    metadata = {"name": QUICK, "namespace": namespace}
    return {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "metadata": metadata, "spec": rules}


@pytest.fixture(scope="module")
def watched(cluster: Cluster, prometheus: Prometheus) -> Iterator[Release]:
    with installed(Release(cluster, "watched", scripted=True), values()) as release:
        cluster.apply([quick_rules(release.namespace)])
        eventually("the rules", lambda: len(prometheus.states(QUICK)) == len(ALERTS), 120)
        yield release


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
