"""One installation of the chart on the test cluster: what its pods mount, its values, and what is asked of it.

The images are those of deploy/Dockerfile, without torch; torch, the models and the throw-away servers come from folders of
this machine as read-only volumes, so that nobody builds gigabytes for a test.
"""

from __future__ import annotations

import re
import shutil
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tandem.paths import REPOSITORY, find_binary, models_folder
from tests.e2e.k8s.cluster import Cluster, wait_for
from tests.fakes import write_tokenizer

CHART = REPOSITORY / "helm"
NAME = "tandem"
MODELS = ("insight-generator", "sufficiency-scorer", "slm-executor")
COMPONENTS = ("gateway", "worker", *MODELS)
_SMALL = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "8Gi"}}
_PROBES = {"startup": {"periodSeconds": 1, "failureThreshold": 600}, "readiness": {"periodSeconds": 1}}


class Release:
    """`scripted`: the test engine in place of the models, with a journal of every token that it makes."""

    def __init__(self, cluster: Cluster, namespace: str, *, mode: str = "deployment", scripted: bool = False) -> None:
        self.cluster, self.namespace, self.mode, self.scripted = cluster, namespace, mode, scripted
        self.shared = cluster.folder / "shared"
        self.journal = self.shared / "journal" / namespace

    # -- life -----------------------------------------------------------------------------------------------------

    def install(self, *more: str, values: dict[str, Any] | None = None) -> None:
        """Namespace, volumes and chart; until every pod is ready."""
        self.prepare()
        self.upgrade("--install", *more, values=values)

    def prepare(self, **labels: str) -> None:
        """The namespace, with `labels`, and the claims of what its pods mount."""
        fill_shared(self.cluster)
        self.journal.mkdir(parents=True, exist_ok=True)
        self.journal.chmod(0o777)
        names = {"metadata": {"name": self.namespace, "labels": labels}}
        self.cluster.apply([{"apiVersion": "v1", "kind": "Namespace", **names}, *self._volumes()])

    def upgrade(self, *more: str, values: dict[str, Any] | None = None) -> None:
        merged = yaml.safe_dump(_merged(self._values(), values or {}))
        words = ("upgrade", NAME, str(CHART), "-n", self.namespace, "--wait", "--timeout", "10m", "-f", "-", *more)
        self.cluster.helm(*words, input=merged)

    def upgrade_without_waiting(self, values: dict[str, Any]) -> None:
        merged = yaml.safe_dump(_merged(self._values(), values))
        words = ("upgrade", NAME, str(CHART), "-n", self.namespace, "--no-hooks", "-f", "-")
        self.cluster.helm(*words, input=merged)

    def uninstall(self) -> None:
        self.cluster.helm("uninstall", NAME, "-n", self.namespace, "--wait", "--timeout", "5m")

    def remove(self) -> None:
        """The namespace and its volumes."""
        self.cluster.kubectl("delete", "namespace", self.namespace, "--wait", "--timeout=240s")
        self.cluster.kubectl("delete", "pv", "-l", f"tandem.dev/test={self.namespace}", "--ignore-not-found")

    def wait_until_nothing_is_left(self) -> None:
        """Of what the chart had made; pods take their time to drain."""
        kinds = "all,configmap,secret,serviceaccount,networkpolicy,pdb,pvc"
        of_it = ("-l", f"app.kubernetes.io/instance={NAME}")
        wait_for("nothing left", lambda: self.kubectl("get", kinds, *of_it) == "", 120)

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
        return bool(pods) and all(_is_ready(pod) for pod in pods)

    def why_pending(self, component: str) -> str:
        """The scheduler's words; empty while it has none."""
        for pod in self.pods(component):
            for condition in pod["status"].get("conditions", []):
                if condition["type"] == "PodScheduled" and condition["status"] == "False":
                    return str(condition.get("message", ""))
        return ""

    @property
    def gateway(self) -> str:
        return f"{self.get('service', f'{NAME}-gateway')['spec']['clusterIP']}:50051"

    @property
    def jaeger(self) -> str:
        return f"http://{self.get('service', f'{NAME}-demo-jaeger')['spec']['clusterIP']}:16686"

    # -- what it is made of ---------------------------------------------------------------------------------------

    def _values(self) -> dict[str, Any]:
        values = _merged(
            {
                "fullnameOverride": NAME,
                "image": {"repository": "localhost/tandem", "tag": "worker", "pullPolicy": "Never", "cudaSuffix": ""},
                "serving": {"mode": self.mode},
                "modelCache": {"type": "existingClaim", "existingClaim": "models", "pull": False},
                "demo": _demo(),
                "defaults": {
                    "probes": _PROBES, "unreadyPauseSeconds": 1, "drainSeconds": 15, "resources": _SMALL,
                    "extraVolumes": [_claim(name) for name in ("site", "extra")],
                    "extraVolumeMounts": _PACKAGES,
                },
                "gateway": {"resources": _SMALL},
                "worker": {"resources": _SMALL, "handoverSeconds": 60},
                # A fake GPU is one that a pod can have, not one that computes.
                **{key: {"device": "cpu", "threads": 2, "resources": _SMALL} for key in _MODEL_KEYS},
            },
            self._scripted_values() if self.scripted else {},
        )  # fmt: skip
        return values

    def _scripted_values(self) -> dict[str, Any]:
        journal = {"name": "TANDEM_TEST_JOURNAL", "value": "/journal/tokens"}
        own = {
            "engine": "tests.fakes:make_engine",
            "extraEnv": [journal],
            "extraVolumes": [_claim(name) for name in ("site", "extra", "journal")],
            "extraVolumeMounts": [*_PACKAGES, {"name": "journal", "mountPath": "/journal"}],
        }
        profile = scripted_profile()
        return {
            "profile": {"name": "scripted", "files": {"profile.toml": profile}},
            **dict.fromkeys(_MODEL_KEYS, own),
        }

    def _volumes(self) -> list[dict[str, Any]]:
        folders = {
            "models": self.shared / ("scripted-models" if self.scripted else "models"),
            "site": Path(sysconfig.get_paths()["purelib"]),
            "extra": self.shared / "extra",
            "programs": self.shared / "programs",
            "journal": self.journal,
        }
        if not self.scripted:
            folders["models"] = models_folder()
        return [each for name, folder in folders.items() for each in self._volume(name, folder)]

    def _volume(self, name: str, folder: Path) -> list[dict[str, Any]]:
        """A claim, and the volume that is made for it; hostPath itself is forbidden to restricted pods."""
        size, modes = {"storage": "1Gi"}, ["ReadWriteMany"]
        volume = f"{self.namespace}-{name}"
        return [
            {
                "apiVersion": "v1", "kind": "PersistentVolume",
                "metadata": {"name": volume, "labels": {"tandem.dev/test": self.namespace}},
                "spec": {
                    "capacity": size, "accessModes": modes, "storageClassName": "", "hostPath": {"path": str(folder)},
                    "claimRef": {"namespace": self.namespace, "name": name},
                    "persistentVolumeReclaimPolicy": "Retain",
                },
            },
            {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": {"name": name, "namespace": self.namespace},
                "spec": {
                    "accessModes": modes, "storageClassName": "", "volumeName": volume,
                    "resources": {"requests": size},
                },
            },
        ]  # fmt: skip


_JAEGER = {  # what deploy/jaeger.yaml asks for
    "LISTEN_HOST": "0.0.0.0", "QUERY_PORT": "16686", "QUERY_GRPC_PORT": "16685", "HEALTH_PORT": "13133", "OTLP_PORT": "4317",
}  # fmt: skip
_MODEL_KEYS = ("insightGenerator", "sufficiencyScorer", "slmExecutor")


def scripted_profile(**changed: str) -> str:
    """The tests' profile, in which a model that is away is waited for as long as by default."""
    text = (REPOSITORY / "tests" / "profiles" / "scripted" / "profile.toml").read_text()
    for name, value in {"away_seconds": "120", **changed}.items():
        text, found = re.subn(rf"^{name} = .*$", f"{name} = {value}", text, flags=re.MULTILINE)
        assert found == 1, name
    return text


def fill_shared(cluster: Cluster) -> None:
    """What pods mount besides torch and models: the throw-away servers, and the tests' engine."""
    shared = cluster.folder / "shared"
    for name in ("redis-server", "temporal", "jaeger"):
        _copied(find_binary(name), shared / "programs" / name)
    _copied(REPOSITORY / "deploy" / "jaeger.yaml", shared / "programs" / "jaeger.yaml")
    shutil.copytree(REPOSITORY / "tests", shared / "extra" / "tests", dirs_exist_ok=True)
    (shared / "extra" / _PATHS).write_text("/site\n/extra\n")
    for name in ("scripted-llm", "scripted-slm"):
        if not (shared / "scripted-models" / name).is_dir():
            write_tokenizer(shared / "scripted-models" / name)


def _copied(source: Path | None, target: Path) -> None:
    if source is None:
        raise RuntimeError(f"{target.name} is missing: run `make jaeger`")
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        partial = target.with_suffix(".partial")
        shutil.copy2(source, partial)
        partial.rename(target)


def _demo() -> dict[str, Any]:
    programs = "/programs"
    return {
        "enabled": True,
        "nodeSelector": {"tandem.dev/pool": "slm"},
        "extraVolumes": [_claim("programs")],
        "extraVolumeMounts": [_mount("programs")],
        "extraEnv": [{"name": f"JAEGER_{name}", "value": value} for name, value in _JAEGER.items()],
        "redis": {
            "image": "localhost/tandem:worker",
            "command": [f"{programs}/redis-server", "--save", "", "--appendonly", "no", "--port", "6379", "--protected-mode", "no"],
        },
        "temporal": {
            "image": "localhost/tandem:worker",
            "command": [f"{programs}/temporal", "server", "start-dev", "--ip", "0.0.0.0", "--headless"],
        },
        "jaeger": {
            "image": "localhost/tandem:worker",
            "command": [f"{programs}/jaeger", "--config", f"{programs}/jaeger.yaml"],
        },
    }  # fmt: skip


def _claim(name: str) -> dict[str, Any]:
    return {"name": name, "persistentVolumeClaim": {"claimName": name}}


def _mount(name: str) -> dict[str, Any]:
    return {"name": name, "mountPath": f"/{name}", "readOnly": True}


# Python finds torch and the tests' engine by a file of paths in the image's environment: KServe refuses PYTHONPATH.
_PATHS = "tests.pth"
_IMAGE_PACKAGES = f"/app/.venv/lib/python3.{sys.version_info.minor}/site-packages"
_PACKAGES = [
    _mount("site"),
    _mount("extra"),
    {"name": "extra", "mountPath": f"{_IMAGE_PACKAGES}/{_PATHS}", "subPath": _PATHS, "readOnly": True},
]


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` over `below`, mapping by mapping, as Helm merges values."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _is_ready(pod: dict[str, Any]) -> bool:
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


def seconds_since(started: float) -> float:
    return round(time.monotonic() - started, 1)
