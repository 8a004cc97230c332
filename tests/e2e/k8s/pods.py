"""Python that a test runs in a pod: in one of the release's, or in one that does nothing else."""

from __future__ import annotations

from typing import Any

from tests.e2e.k8s.cluster import Cluster

CONTAINER = {"image": "localhost/tandem:worker", "imagePullPolicy": "Never"}


def idle_pod(name: str, namespace: str, **labels: str) -> dict[str, Any]:
    """A pod that sleeps for a quarter of an hour."""
    container = {"name": name, **CONTAINER, "args": ["sleep", "900"]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }


def start_idle_pod(cluster: Cluster, name: str, namespace: str, **labels: str) -> None:
    """Until code can be run in it."""
    cluster.apply([idle_pod(name, namespace, **labels)])
    cluster.kubectl("-n", namespace, "wait", "--for=condition=Ready", f"pod/{name}", "--timeout=120s")


def run_python(cluster: Cluster, namespace: str, pod: str, program: str, *words: str) -> str:
    """What the program prints within 30 seconds, outside any sandbox. Raises RuntimeError where it fails."""
    inside = ("timeout", "30", "python", "-c", program, *words)
    return cluster.kubectl("-n", namespace, "exec", pod, "--", *inside)
