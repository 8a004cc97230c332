"""What a real API server says of the chart: it admits every values file in ci/, and each upgrade from the version
before and back.

No pod runs: the first is a dry run, and a quota allows the others none.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.k8s.cluster import Cluster
from tests.e2e.k8s.release import CHART, NAME

pytestmark = pytest.mark.timeout(900)
ADMITTED, UPGRADED = "admitted", "upgraded-charts"
# What an operator has whose values name it: a pod is admitted only where there is one.
PRODUCTION: dict[str, Any] = {
    "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "production"}, "value": 1000,
}  # fmt: skip
PLATFORMS = (  # kinds of theirs, which this cluster does not know
    "networking.gke.io/",
    "monitoring.googleapis.com/",
    "networking.istio.io/",
    "security.istio.io/",
)
CHANGED = ("gpu", "edge", "tls", "kserve", "minimal", "hardened", "profiles")  # ci files of both versions


@pytest.fixture(scope="module")
def charts(cluster: Cluster) -> Iterator[Cluster]:
    names = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in (ADMITTED, UPGRADED)]
    metadata = {"name": "none", "namespace": UPGRADED}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": {"pods": "0"}}}
    cluster.apply([*names, quota, PRODUCTION])
    yield cluster
    cluster.kubectl("delete", "namespace", ADMITTED, UPGRADED, "--wait=false")
    cluster.kubectl("delete", "priorityclass", PRODUCTION["metadata"]["name"])


@pytest.mark.parametrize("file", sorted((CHART / "ci").glob("*.yaml")), ids=lambda file: file.stem)
def test_a_ci_values_file_is_admitted(charts: Cluster, file: Path) -> None:
    rendered = charts.helm("template", NAME, str(CHART), "-n", ADMITTED, "-f", str(file))
    ours = [each for each in yaml.safe_load_all(rendered) if each and not each["apiVersion"].startswith(PLATFORMS)]
    for service in (each for each in ours if each["kind"] == "Service"):
        service["spec"].pop("ipFamilies", None)  # this cluster has IPv4 alone
    words = ("apply", "--dry-run=server", "--validate=strict", "-n", ADMITTED, "-f", "-")
    charts.kubectl(*words, input=yaml.safe_dump_all(ours))


@pytest.mark.parametrize("values", CHANGED)
def test_an_upgrade_from_the_version_before_takes_its_values_and_goes_back(charts: Cluster, values: str) -> None:
    before, here = charts.folder / "previous" / "helm", ("-n", UPGRADED, "--no-hooks")
    charts.helm("install", values, str(before), *here, "-f", str(before / "ci" / f"{values}-values.yaml"))
    upgrade = ("upgrade", values, str(CHART), *here, "--set", "image.registry=registry.example.com")
    with pytest.raises(
        RuntimeError, match="values"
    ):  # the old defaults are refused: by the schema, or with the option's name
        charts.helm(*upgrade, "--reuse-values")
    charts.helm(*upgrade, "--reset-then-reuse-values")
    charts.helm("rollback", values, *here)
    charts.helm("uninstall", values, *here)
