"""Every values file in the chart's ci/ is admitted; the hardened one runs under Pod Security `restricted`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tandem import Client, RequestError
from tandem.keys import KeyFile
from tests.e2e.k8s.cluster import Cluster
from tests.e2e.k8s.release import CHART, NAME, Release

pytestmark = pytest.mark.timeout(600)


def test_every_ci_values_file_is_admitted(cluster: Cluster) -> None:
    namespaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "admitted"}}]
    cluster.apply(namespaces)
    for file in sorted((CHART / "ci").glob("*.yaml")):
        rendered = cluster.helm("template", NAME, str(CHART), "-n", "admitted", "-f", str(file))
        cluster.kubectl("apply", "--dry-run=server", "--validate=strict", "-n", "admitted", "-f", "-", input=rendered)
    cluster.kubectl("delete", "namespace", "admitted")


def test_hardened_values_run_under_pod_security_restricted(cluster: Cluster, tmp_path: Path) -> None:
    release = Release(cluster, "hardened", scripted=True)
    release.prepare(**{"pod-security.kubernetes.io/enforce": "restricted"})
    hardened = yaml.safe_load((CHART / "ci" / "hardened-values.yaml").read_text())
    kept = {key: value for key, value in hardened.items() if key not in ("redis", "temporal")}
    keys = KeyFile(tmp_path / "keys.json")
    _, credential = keys.create("acme")
    release.kubectl("create", "secret", "generic", "tandem-keys", f"--from-file={keys.path}")
    kept["auth"] = {"existingSecret": "tandem-keys"}  # no issuer is reachable from these nodes
    kept["answerChecker"] = {"runtimeClassName": ""}  # these nodes have no gVisor
    release.upgrade("--install", values=kept)
    release.wait_until_ready()
    with Client(release.gateway) as client, pytest.raises(RequestError, match="a credential is needed"):
        client.ask("who asks?")
    with Client(release.gateway, credential) as client:
        assert client.ask("[slm_eos=5] restricted?").reasoning
    warnings = release.kubectl("get", "events", "--field-selector", "reason=FailedCreate", "-o", "json")
    assert json.loads(warnings)["items"] == []
    release.uninstall()
    release.wait_until_nothing_is_left()
    release.remove()
