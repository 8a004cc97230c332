from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.k8s import monitoring
from tests.e2e.k8s.cluster import Cluster
from tests.e2e.k8s.monitoring import Prometheus


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if Cluster().is_up:
        return
    for item in items:
        if item.path.parent.name == "k8s":
            item.add_marker(pytest.mark.skip(reason="needs the test cluster: make e2e-k8s"))


@pytest.fixture(autouse=True, scope="module")
def environment() -> None:
    """Not the local stack's."""


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The one that is up."""
    return Cluster()


@pytest.fixture(scope="session")
def prometheus(cluster: Cluster) -> Iterator[Prometheus]:
    yield monitoring.install(cluster)
    monitoring.remove(cluster)
