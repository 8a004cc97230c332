"""Weights once: one Job downloads for every pod, gateways get a tokenizer alone; cut connections and a full disk
heal.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tandem import Client
from tests.disks import enlarge_disk, mount_disk, unmount_disk
from tests.e2e.k8s.cluster import Cluster
from tests.e2e.k8s.layout import NODES
from tests.e2e.k8s.release import NAME, Release, eventually
from tests.e2e.k8s.shared import volume
from tests.e2e.k8s.values import scripted_profile
from tests.fakes import write_tokenizer
from tests.hub import Hub

pytestmark = pytest.mark.timeout(1200)
WEIGHTS = os.urandom(300_000)
MODELS = {"scripted-llm": "org/large", "scripted-slm": "org/small"}
SMALL = "/org/small/resolve/main/model.safetensors"
CUTS = [1000] * 10_000  # a connection brings so many bytes: a command gives up before it has the weights
KIB = 1024


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """On a node's address, with the two models of the tests' profile."""
    hub = Hub(NODES[0].address)
    write_tokenizer(tmp_path / "model")
    files = {file.name: file.read_bytes() for file in (tmp_path / "model").iterdir()} | {"model.safetensors": WEIGHTS}
    hub.files = {f"{repository}/{name}": content for repository in MODELS.values() for name, content in files.items()}
    yield hub
    hub.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Too small for both models, large enough for one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount_disk(folder, "mode=777", size=512 * KIB)
    yield folder
    unmount_disk(folder)


@pytest.fixture
def release(cluster: Cluster, disk: Path) -> Iterator[Release]:
    """Prepared. The claim that the chart makes for the models finds the disk."""
    release = Release(cluster, "pull", scripted=True)
    release.prepare()
    cluster.apply([volume(release.namespace, f"{NAME}-models", disk)])
    yield release
    release.remove(waits=True)  # its disk is in use


def values(hub: Hub) -> dict[str, Any]:
    """What an operator sets for models of their own on a hub of their own."""
    rows = [
        f'["{name}"]\nkind = "snapshot"\nlicense = "MIT"\nbase = "{repository}"\nrepository = "{repository}"\n'
        for name, repository in MODELS.items()
    ]
    environment = {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_TELEMETRY": "1"}
    return {
        "profile": {"files": {"profile.toml": scripted_profile(), "models.toml": "\n".join(rows)}},
        "modelCache": {
            "type": "shared", "existingClaim": "", "size": "1Gi", "pull": True,
            "pullEnv": [{"name": name, "value": value} for name, value in environment.items()],
            "pullResources": {"requests": {"cpu": "50m", "memory": "128Mi"}},
        },
    }  # fmt: skip


def said(release: Release, component: str, container: str, text: str) -> bool:
    """Whether a pod's container wrote `text`, in this run or in the one before."""
    for pod in release.pods(component):
        for more in ((), ("--previous",)):
            words = ("logs", pod["metadata"]["name"], "-c", container, "--ignore-errors", *more)
            try:
                if text in release.kubectl(*words):
                    return True
            except RuntimeError:
                continue  # it has not run yet, or not twice
    return False


def test_a_job_downloads_for_all_pods_through_lost_connections_and_a_full_disk(
    release: Release, hub: Hub, disk: Path
) -> None:
    hub.cuts = list(CUTS)
    with ThreadPoolExecutor() as pool:
        installing = pool.submit(release.upgrade, "--install", values=values(hub))
        large, small = "llm-transformers", "slm-transformers"  # the Job's containers
        eventually("the lost connection", lambda: said(release, "pull", large, "the connection was lost"), 240)
        hub.cuts.clear()
        eventually("the full disk", lambda: said(release, "pull", small, "make room there"), 240)
        assert SMALL not in hub.requested
        assert said(release, "slm-executor", "models", "waiting")
        eventually("the gateways", lambda: release.is_ready("gateway"), 120)
        enlarge_disk(disk)
        installing.result()
    with Client(release.gateway) as client:
        assert client.ask("[slm_eos=5] from the hub?").reasoning
    assert "bytes=1000-" in hub.ranges  # a lost connection does not lose what came
    assert hub.requested.count(SMALL) == 1  # of four pods that have it
    for pod in release.pods("gateway"):
        found = release.kubectl("exec", pod["metadata"]["name"], "--", "find", "/models", "-name", "*.safetensors")
        assert found == ""
