"""A disk that is full, and a node that is drained or gone, while requests run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.disks import enlarge_disk, fill_disk, mount_disk, unmount_disk
from tests.e2e.k8s import servers
from tests.e2e.k8s.cluster import Cluster
from tests.e2e.k8s.layout import call
from tests.e2e.k8s.load import check_answered, under_load
from tests.e2e.k8s.node import connect_nodes
from tests.e2e.k8s.release import Release, eventually

pytestmark = [pytest.mark.timeout(1200), pytest.mark.alone]
FULL_SECONDS = 10
LOST_NODE = "kn2"  # the large model's


@pytest.fixture(scope="module")
def release(cluster: Cluster) -> Iterator[Release]:
    """Temporal's database is on a disk of its own, and Temporal and Redis on the node that stays."""
    release = Release(cluster, "losses", scripted=True)
    disk = release.journal / "disk"
    disk.mkdir(parents=True, exist_ok=True)
    mount_disk(disk, "mode=777")
    try:
        release.prepare()
        servers.start_servers(release, database="/journal/disk/temporal.db")
        release.upgrade("--install", values={**servers.VALUES, "auth": {"allowAnonymous": True}})
        release.wait_until_ready()
        yield release
    finally:
        release.remove(waits=True)  # its disk is in use
        unmount_disk(disk)


async def test_while_temporals_disk_is_full_requests_wait(release: Release) -> None:
    async def fill_for_a_while() -> None:
        fill_disk(release.journal / "disk")
        await asyncio.sleep(FULL_SECONDS)
        enlarge_disk(release.journal / "disk")

    check_answered(await under_load(release, 5, fill_for_a_while))


async def test_a_drain_of_the_large_models_node_loses_no_request(release: Release) -> None:
    async def drain() -> None:
        flags = ("--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=90s")
        await asyncio.to_thread(release.cluster.kubectl, "drain", LOST_NODE, *flags)

    try:
        check_answered(await under_load(release, 5, drain))
    finally:
        release.cluster.kubectl("uncordon", LOST_NODE)
    release.wait_until_ready()


def is_ready(release: Release, node: str) -> bool:
    conditions: list[dict[str, Any]] = release.get("node", node)["status"]["conditions"]
    return {each["type"]: each["status"] for each in conditions}["Ready"] == "True"


async def test_requests_outlive_the_node_of_the_large_model(release: Release) -> None:
    async def lose() -> None:
        call("ip", "-n", LOST_NODE, "link", "set", "eth1", "down")
        await asyncio.to_thread(eventually, "the node's loss", lambda: not is_ready(release, LOST_NODE), 120)

    try:
        check_answered(await under_load(release, 5, lose))
        check_answered(await under_load(release, 1, lambda: asyncio.sleep(0), "answer_delta"))
    finally:
        connect_nodes()
    eventually("the node", lambda: is_ready(release, LOST_NODE), 120)
    release.wait_until_ready()
