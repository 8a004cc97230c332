"""The arrows of the picture, tried by connecting: what each process may reach with network policies, and nothing
else.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tandem import Client
from tests.e2e.k8s.cluster import Cluster
from tests.e2e.k8s.pods import run_python, start_idle_pod
from tests.e2e.k8s.release import COMPONENTS, NAME, Release, eventually, installed

pytestmark = pytest.mark.timeout(900)
MAY_REACH = {
    "http-gateway": {"gateway/grpc", "demo-jaeger/otlp"},
    "gateway": {"demo-redis/redis", "demo-temporal/grpc", "demo-jaeger/otlp"},
    "worker": {
        "insight-generator/grpc", "sufficiency-scorer/grpc", "slm-executor/grpc", "answer-checker/grpc",
        "demo-redis/redis", "demo-temporal/grpc", "demo-jaeger/otlp",
    },
    "insight-generator": {"demo-redis/redis", "demo-jaeger/otlp"},
    "sufficiency-scorer": {"demo-redis/redis", "demo-jaeger/otlp"},
    "slm-executor": {"demo-redis/redis", "demo-jaeger/otlp"},
    "answer-checker": set[str](),
}  # fmt: skip
# Tries every address at the same time, and prints the names of those that answer.
PROBE = """
import socket, sys
from concurrent.futures import ThreadPoolExecutor

def reached(target):
    name, host, port = target.split(",")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
        return name
    except OSError:
        return ""

with ThreadPoolExecutor(64) as pool:
    print(" ".join(filter(None, pool.map(reached, sys.argv[1:]))))
"""


@pytest.fixture(scope="module")
def guarded(cluster: Cluster) -> Iterator[Release]:
    with installed(Release(cluster, "guarded", scripted=True), {"networkPolicy": {"enabled": True}}) as release:
        yield release


def addresses(release: Release) -> dict[str, tuple[str, int]]:
    """Address and port of every port of every pod, by component and the port's name."""
    found = {}
    for pod in release.get("pods")["items"]:
        component = pod["metadata"].get("labels", {}).get("app.kubernetes.io/component", "")
        for container in pod["spec"]["containers"]:
            for port in container.get("ports", []):
                found[f"{component}/{port['name']}"] = (pod["status"]["podIP"], port["containerPort"])
    return found


def reached(release: Release, component: str, targets: dict[str, tuple[str, int]]) -> set[str]:
    """Those that answer code in this component's pod, which may always reach itself."""
    [pod, *_] = release.pods(component)
    others = {name: target for name, target in targets.items() if not name.startswith(f"{component}/")}
    words = [f"{name},{host},{port}" for name, (host, port) in others.items()]
    return set(run_python(release.cluster, release.namespace, pod["metadata"]["name"], PROBE, *words).split())


def test_each_process_reaches_what_the_picture_has_and_nothing_else(guarded: Release) -> None:
    targets = addresses(guarded)
    assert {name.partition("/")[0] for name in targets} >= {*COMPONENTS, "http-gateway", "demo-redis"}
    targets |= {"api-server/https": ("172.30.0.1", 6443)}
    eventually("every arrow", lambda: reached(guarded, "worker", targets) == MAY_REACH["worker"])
    found = {component: reached(guarded, component, targets) for component in MAY_REACH}
    assert found == MAY_REACH


def test_a_pod_that_is_none_of_them_reaches_the_two_gateways_alone(guarded: Release) -> None:
    start_idle_pod(guarded.cluster, "stranger", guarded.namespace)
    ours = {name: at for name, at in addresses(guarded).items() if not name.startswith("demo-")}
    words = [f"{name},{host},{port}" for name, (host, port) in ours.items()]

    def answering() -> set[str]:
        return set(run_python(guarded.cluster, guarded.namespace, "stranger", PROBE, *words).split())

    eventually("the gateways", lambda: answering() == {"gateway/grpc", "http-gateway/http"})


def test_a_request_passes_through_the_policies(guarded: Release) -> None:
    with Client(guarded.gateway) as client:
        assert client.ask("[slm_eos=5] guarded?").reasoning
    assert guarded.get("networkpolicy", f"{NAME}-worker")["spec"]["policyTypes"] == ["Ingress", "Egress"]
