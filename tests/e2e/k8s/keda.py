"""KEDA's operator and its server of metrics, by its own manifests."""

from __future__ import annotations

import json

from tests.e2e.k8s.cluster import Cluster
from tests.e2e.k8s.layout import wait_for
from tests.e2e.k8s.operators import manifests, with_images

NAMESPACE = "keda"
_FOLDERS = ("general", "rbac", "service_account", "manager", "metrics-server")
_IMAGES = {"keda-operator": "localhost/keda:local", "keda-metrics-apiserver": "localhost/keda-adapter:local"}


def install(cluster: Cluster) -> None:
    """Until the API server has external metrics from it. What a run before left goes first."""
    remove(cluster, waits=True)
    files = [file for folder in _FOLDERS for file in sorted((cluster.folder / "keda" / folder).glob("*.yaml"))]
    cluster.apply(with_images(manifests(file for file in files if file.name != "kustomization.yaml"), _IMAGES))
    for name in _IMAGES:
        cluster.kubectl("-n", NAMESPACE, "rollout", "status", f"deploy/{name}", "--timeout=240s")
    wait_for("KEDA's metrics", lambda: _serves_metrics(cluster))


def remove(cluster: Cluster, *, waits: bool = False) -> None:
    cluster.kubectl("delete", "apiservice", "v1beta1.external.metrics.k8s.io", "--ignore-not-found")
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", f"--wait={waits}".lower())


def _serves_metrics(cluster: Cluster) -> bool:
    found = json.loads(cluster.kubectl("get", "apiservice", "v1beta1.external.metrics.k8s.io", "-o", "json"))
    conditions = {each["type"]: each["status"] for each in found.get("status", {}).get("conditions", [])}
    return conditions.get("Available") == "True"
