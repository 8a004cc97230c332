"""The hardened values file runs under Pod Security `restricted`, and leaves nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tandem.access.keys import KeyFile
from tests.e2e.k8s.cluster import Cluster
from tests.e2e.k8s.pods import run_python, start_idle_pod
from tests.e2e.k8s.release import CHART, Release, eventually

pytestmark = pytest.mark.timeout(600)
CALLERS = "callers", "others"  # namespaces: one that may ask, one that may not
# Asks in a pod: prints whether there was an answer, or what it was refused with.
ASK = """
import sys
from tandem import Client, RequestError

with Client(*sys.argv[1:]) as client:
    try:
        print("answered" if client.ask("[slm_eos=5] restricted?").reasoning else "nothing")
    except RequestError as error:
        print(error)
"""


def start_caller(cluster: Cluster, namespace: str, **labels: str) -> None:
    """A pod that can ask, in a namespace of its own."""
    cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}])
    start_idle_pod(cluster, "caller", namespace)


def ask_from(cluster: Cluster, namespace: str, *words: str) -> str:
    return run_python(cluster, namespace, "caller", ASK, *words)


@pytest.fixture
def hardened(cluster: Cluster) -> Iterator[Release]:
    """Prepared, not installed."""
    release = Release(cluster, "hardened", scripted=True)
    release.prepare(**{"pod-security.kubernetes.io/enforce": "restricted"})
    yield release
    cluster.kubectl("delete", "namespace", *CALLERS, "--ignore-not-found", "--wait=false")
    release.remove()


def test_hardened_values_run_under_pod_security_restricted_and_uninstall_leaves_nothing(
    hardened: Release, tmp_path: Path
) -> None:
    release, cluster = hardened, hardened.cluster
    values = yaml.safe_load((CHART / "ci" / "hardened-values.yaml").read_text())
    kept = {key: value for key, value in values.items() if key not in ("image", "redis", "temporal")}
    keys = KeyFile(tmp_path / "keys.json")
    _, credential = keys.create("acme")
    release.kubectl("create", "secret", "generic", "tandem-keys", f"--from-file={keys.path}")
    kept["auth"] = {"existingSecret": "tandem-keys"}  # no issuer is reachable from these nodes
    kept["answerChecker"] = {"runtimeClassName": ""}  # these nodes have no gVisor
    release.upgrade("--install", values=kept)
    release.wait_until_ready()
    start_caller(cluster, CALLERS[0], **{"tandem.dev/client": "true"})
    start_caller(cluster, CALLERS[1])
    eventually("a caller's answer", lambda: "answered" in ask_from(cluster, CALLERS[0], release.gateway, credential))
    assert "a credential is needed" in ask_from(cluster, CALLERS[0], release.gateway)
    assert "failing" in ask_from(cluster, CALLERS[1], release.gateway, credential)  # no connection: it is no client's
    warnings = release.kubectl("get", "events", "--field-selector", "reason=FailedCreate", "-o", "json")
    assert json.loads(warnings)["items"] == []
    release.uninstall()
    release.wait_until_nothing_is_left()
