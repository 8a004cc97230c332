"""Temporal and Redis that are none of the release's, so that no upgrade replaces them and a removed release leaves
them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.e2e.k8s.release import Release

_CONTAINER = {"image": "localhost/tandem:worker", "imagePullPolicy": "Never"}
_COMMANDS = {
    "temporal": ("/programs/temporal", "server", "start-dev", "--ip", "0.0.0.0", "--headless"),
    "redis": ("/programs/redis-server", "--save", "", "--protected-mode", "no"),
}
_PORTS = {"temporal": 7233, "redis": 6379}
VALUES = {
    "demo": {"enabled": False},
    "temporal": {"address": "temporal:7233"},
    "redis": {"url": "redis://redis:6379/0"},
}
"""What the chart needs to use them."""


def start_servers(release: Release, *, database: str = "") -> None:
    """Pods and Services, on the small model's node. `database`: path of Temporal's file, below /journal; in memory if
    empty.
    """
    more = {"temporal": ("--db-filename", database) if database else ()}
    release.cluster.apply([each for name in _COMMANDS for each in _server(name, release.namespace, more.get(name, ()))])
    release.kubectl("wait", "--for=condition=Ready", "pod", "-l", "server", "--timeout=120s")


def _server(name: str, namespace: str, more: Iterable[str]) -> list[dict[str, Any]]:
    metadata = {"name": name, "namespace": namespace}
    claims = {"programs": True, "journal": False}  # by name: whether it is only read
    container = {
        "name": name,
        **_CONTAINER,
        "args": [*_COMMANDS[name], *more],
        "env": [{"name": "HOME", "value": "/tmp"}],
        "volumeMounts": [
            {"name": claim, "mountPath": f"/{claim}", "readOnly": reads} for claim, reads in claims.items()
        ],
        "readinessProbe": {"tcpSocket": {"port": _PORTS[name]}, "periodSeconds": 1},
    }
    volumes = [
        {"name": claim, "persistentVolumeClaim": {"claimName": claim, "readOnly": reads}}
        for claim, reads in claims.items()
    ]
    return [
        {
            "apiVersion": "v1", "kind": "Pod", "metadata": {**metadata, "labels": {"server": name}},
            "spec": {
                "containers": [container], "volumes": volumes, "terminationGracePeriodSeconds": 5,
                "nodeSelector": {"tandem.dev/pool": "slm"},
            },
        },
        {
            "apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {"selector": {"server": name}, "ports": [{"port": _PORTS[name]}]},
        },
    ]  # fmt: skip
