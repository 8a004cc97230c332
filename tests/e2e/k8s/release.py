"""One installation of the chart on the test cluster, and what is asked of it.

The images are those of deploy/Dockerfile, without torch; torch, the models and the throw-away servers come from folders
of this machine as read-only volumes (shared.py), so that no test builds gigabytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from deploy.chart_schema import merged
from tandem.paths import REPOSITORY
from tests.e2e.k8s.cluster import Cluster
from tests.e2e.k8s.layout import wait_for
from tests.e2e.k8s.shared import fill_shared, journal_folder, volumes
from tests.e2e.k8s.values import NAME, release_values

CHART = REPOSITORY / "helm"
MODELS = ("insight-generator", "sufficiency-scorer", "slm-executor")
CHECKER = "answer-checker"
COMPONENTS = ("gateway", "worker", CHECKER, *MODELS)


class Release:
    """`scripted`: the test engine in place of the models, with a journal of every token that it counts."""

    def __init__(self, cluster: Cluster, namespace: str, *, scripted: bool = False) -> None:
        self.cluster, self.namespace, self.scripted = cluster, namespace, scripted
        self.journal = journal_folder(cluster, namespace)

    # -- life -----------------------------------------------------------------------------------------------------

    def install(self, *more: str, values: dict[str, Any] | None = None) -> None:
        """Namespace, volumes and chart; until every pod is ready."""
        self.prepare()
        self.upgrade("--install", *more, values=values)

    def prepare(self, **labels: str) -> None:
        """The namespace, with `labels`, and the claims of what its pods mount. What an earlier run left goes first."""
        self.remove(waits=True)
        fill_shared(self.cluster)
        self.journal.mkdir(parents=True, exist_ok=True)
        self.journal.chmod(0o777)
        names = {"metadata": {"name": self.namespace, "labels": labels}}
        self.cluster.apply(
            [
                {"apiVersion": "v1", "kind": "Namespace", **names},
                *volumes(self.cluster, self.namespace, scripted=self.scripted),
            ]
        )

    def upgrade(
        self, *more: str, values: dict[str, Any] | None = None, chart: Path = CHART, waits: bool = True
    ) -> None:
        """Until every pod is ready and the hooks have run; without waiting the hooks do not run."""
        every = merged(release_values(scripted=self.scripted), values or {})
        how = ("--wait", "--timeout", "10m") if waits else ("--no-hooks",)
        words = ("upgrade", NAME, str(chart), "-n", self.namespace, *how, "-f", "-", *more)
        self.cluster.helm(*words, input=yaml.safe_dump(every))

    def roll_back(self) -> None:
        """To the values and the chart before the last upgrade."""
        self.cluster.helm("rollback", NAME, "-n", self.namespace, "--wait", "--timeout", "5m")

    def remove(self, *, waits: bool = False) -> None:
        """The namespace with all that is in it, and its volumes. Pods are not asked to drain: that is for tests of it.

        `waits`: until they are gone, some twenty seconds; else they go while the next test runs.
        """
        named = ("namespace", self.namespace, "--ignore-not-found")
        self.cluster.kubectl("delete", *named, "--wait=false")
        self.kubectl("delete", "pods", "--all", "--grace-period=1", "--wait=false")
        if waits:
            self.cluster.kubectl("delete", *named, "--timeout=240s")
        volumes = ("pv", "-l", f"tandem.dev/test={self.namespace}")
        self.cluster.kubectl("delete", *volumes, "--ignore-not-found", f"--wait={waits}".lower())

    # -- looking --------------------------------------------------------------------------------------------------

    def kubectl(self, *arguments: str, **options: object) -> str:
        return self.cluster.kubectl("-n", self.namespace, *arguments, **options)

    def get(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load(self.kubectl("get", *arguments, "-o", "yaml"))
        return found

    def pods(self, component: str) -> list[dict[str, Any]]:
        """Those of the component that are not on their way out."""
        items = self.get("pods", "-l", f"app.kubernetes.io/component={component}")["items"]
        return [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]

    def wait_until_ready(self, *components: str) -> None:
        for component in components or COMPONENTS:
            wait_for(f"{component} in {self.namespace}", lambda c=component: self.is_ready(c), 300)

    def is_ready(self, component: str) -> bool:
        pods = self.pods(component)
        return bool(pods) and all(pod_is_ready(pod) for pod in pods)

    @property
    def gateway(self) -> str:
        return f"{self.get('service', f'{NAME}-gateway')['spec']['clusterIP']}:50051"


@contextmanager
def installed(release: Release, values: dict[str, Any] | None = None) -> Iterator[Release]:
    """Installed and ready inside the block; removed after it, whatever happens."""
    try:
        release.install(values=values)
        release.wait_until_ready()
        yield release
    finally:
        release.remove()


def image_tags(release: Release, *components: str) -> set[str]:
    """Of the pods of `components`, or of all."""
    pods = [pod for component in components or COMPONENTS for pod in release.pods(component)]
    return {pod["spec"]["containers"][0]["image"].rpartition(":")[2] for pod in pods}


def pod_is_ready(pod: dict[str, Any]) -> bool:
    conditions = {c["type"]: c["status"] for c in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True"


def eventually(what: str, condition: Callable[[], object], seconds: float = 60.0) -> Any:
    """The first true value of `condition`. Raises TimeoutError."""
    found: list[object] = []

    def look() -> bool:
        found[:] = [condition()]
        return bool(found[0])

    wait_for(what, look, seconds)
    return found[0]
