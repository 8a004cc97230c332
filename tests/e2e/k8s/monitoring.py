"""A real Prometheus, run by its operator, that reads the chart's ServiceMonitors and PrometheusRules."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

from tests.e2e.k8s.cluster import Cluster
from tests.e2e.k8s.layout import wait_for
from tests.e2e.k8s.operators import in_namespace, manifests, with_images

NAMESPACE = "monitoring"
INTERVAL = "2s"  # between two scrapes and two looks at the rules


def install(cluster: Cluster) -> Prometheus:
    """The operator and a Prometheus for the monitors and rules of all namespaces; until it answers.

    What a run before left goes first.
    """
    remove(cluster, waits=True)
    cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}])
    cluster.apply([*_operator(cluster.folder / "prometheus-operator"), *_server()])
    cluster.kubectl("-n", NAMESPACE, "rollout", "status", "deploy/prometheus-operator", "--timeout=120s")
    wait_for("Prometheus's pods", lambda: cluster.kubectl("-n", NAMESPACE, "get", "statefulset", "prometheus-tests"))
    cluster.kubectl("-n", NAMESPACE, "rollout", "status", "statefulset/prometheus-tests", "--timeout=180s")
    service = json.loads(cluster.kubectl("-n", NAMESPACE, "get", "service", "prometheus", "-o", "json"))
    prometheus = Prometheus(f"http://{service['spec']['clusterIP']}:9090")
    wait_for("Prometheus", lambda: prometheus.query("vector(1)"))
    return prometheus


def remove(cluster: Cluster, *, waits: bool = False) -> None:
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", f"--wait={waits}".lower())


@dataclass(frozen=True)
class Prometheus:
    address: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Series with their present values, as the HTTP API has them."""
        found: list[dict[str, Any]] = self._get("query", query=expression)["result"]
        return found

    def _get(self, what: str, **parameters: str) -> Any:
        try:
            with urlopen(f"{self.address}/api/v1/{what}?{urlencode(parameters)}", timeout=30) as reply:
                return json.load(reply)["data"]
        except OSError as error:
            raise RuntimeError(f"Prometheus does not answer: {error}") from error


def _operator(sources: Path) -> list[dict[str, Any]]:
    found = manifests(sorted(sources.glob("prometheus-operator-*.yaml")))
    reloader = "localhost/prometheus-config-reloader:local"
    arguments = [f"--prometheus-config-reloader={reloader}", "--config-reloader-cpu-limit=0"]
    images = {"prometheus-operator": "localhost/prometheus-operator:local"}
    return with_images(in_namespace(found, NAMESPACE), images, arguments)


def _server() -> list[dict[str, Any]]:
    named = {"name": "prometheus", "namespace": NAMESPACE}
    reading = ["get", "list", "watch"]
    rules = [
        {"apiGroups": [""], "resources": ["services", "endpoints", "pods"], "verbs": reading},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": reading},
    ]
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": named},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "prometheus"},
            "rules": rules,
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "prometheus"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "prometheus"},
            "subjects": [{"kind": "ServiceAccount", **named}],
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": named,
            "spec": {"selector": {"app.kubernetes.io/name": "prometheus"}, "ports": [{"name": "http", "port": 9090}]},
        },
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "Prometheus",
            "metadata": {"name": "tests", "namespace": NAMESPACE},
            "spec": {
                "image": "localhost/prometheus:local",
                "imagePullPolicy": "Never",
                "version": "v3.7.3",
                "replicas": 1,
                "serviceAccountName": "prometheus",
                "scrapeInterval": INTERVAL,
                "evaluationInterval": INTERVAL,
                "serviceMonitorSelector": {},
                "serviceMonitorNamespaceSelector": {},
                "ruleSelector": {},
                "ruleNamespaceSelector": {},
                "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "fsGroup": 2000},
                "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}},
            },
        },
    ]
