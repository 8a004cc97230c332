from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.k8s import monitoring
from tests.e2e.k8s.cluster import Cluster
from tests.e2e.k8s.monitoring import Prometheus
from tests.e2e.k8s.release import Release, installed


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if Cluster().is_up:
        return
    for item in items:
        if item.path.parent.name == "k8s":
            item.add_marker(pytest.mark.skip(reason="needs the test cluster: make e2e-k8s"))


@pytest.fixture(autouse=True, scope="module")
def environment() -> None:
    """Not the local stack's: here the real models are served too."""


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The one that is up."""
    return Cluster()


@pytest.fixture(scope="session")
def prometheus(cluster: Cluster) -> Iterator[Prometheus]:
    """For the releases of several files: each asks for its own namespace. Of files that run side by side, one may use
    it.
    """
    yield monitoring.install(cluster)
    monitoring.remove(cluster)


@pytest.fixture(scope="module", params=["deployment", "kserve"])
def real(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Release]:
    """The default pair, served in either mode."""
    with installed(Release(cluster, f"real-{request.param}", mode=request.param)) as release:
        yield release


@pytest.fixture(scope="module")
def scripted(cluster: Cluster) -> Iterator[Release]:
    """The test engine, so that many requests run at once; two workers and gateways, so that one may go."""
    with installed(Release(cluster, "scripted", scripted=True)) as release:
        yield release
