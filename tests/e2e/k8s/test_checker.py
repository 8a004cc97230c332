"""The answer checker on the cluster: it verifies code of a real model, and nothing leaves its pod where policies are enforced."""

from __future__ import annotations

import pytest

from tandem import Client
from tandem.v1 import tandem_pb2
from tests.e2e.k8s.pods import run_python, start_idle_pod
from tests.e2e.k8s.release import CHECKER, NAME, Release, eventually

pytestmark = pytest.mark.timeout(1800)
HEAD = '''def add(a, b):
    """Return the sum of a and b.

    >>> add(2, 3)
    5
    """
'''
# What a pod may not reach: the gateway's port by address, and a name by DNS. Prints what it reached.
PROBE = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 50051), timeout=5).close()
    print("gateway")
except OSError:
    pass
try:
    socket.getaddrinfo(sys.argv[2], 50051)
    print("dns")
except OSError:
    pass
"""


def reached(release: Release, pod: str) -> set[str]:
    """What code in this pod reaches, outside any sandbox: of "gateway" and "dns"."""
    address = release.gateway.partition(":")[0]
    words = (address, f"{NAME}-gateway.{release.namespace}.svc")
    return set(run_python(release.cluster, release.namespace, pod, PROBE, *words).split())


def plugin_enforces_policies(release: Release) -> bool:
    """A pod that one policy forbids every connection, and that shares nothing else with the checker, reaches nothing."""
    labels = {"tandem.dev/probe": "isolated"}
    metadata = {"name": "probe", "namespace": release.namespace}
    policy = {"podSelector": {"matchLabels": labels}, "policyTypes": ["Egress"], "egress": []}
    release.cluster.apply(
        [{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": policy}]
    )
    try:
        start_idle_pod(release.cluster, "probe", release.namespace, **labels)
        return reached(release, "probe") == set()
    finally:
        release.kubectl("delete", "pod/probe", "networkpolicy/probe", "--wait")


def test_code_is_verified_against_the_example_in_its_prompt(real: Release) -> None:
    with Client(real.gateway) as client:
        result = client.ask(HEAD, code=True, checks=["python_examples"])
    assert [check.name for check in result.checks if check.verdict == tandem_pb2.VERDICT_PASS], result


def test_nothing_leaves_the_checkers_pod_where_policies_are_enforced(real: Release) -> None:
    policy = real.get("networkpolicy", f"{NAME}-{CHECKER}")["spec"]
    assert policy["policyTypes"] == ["Egress"]
    assert policy.get("egress", []) == []
    [worker, *_], [pod] = real.pods("worker"), real.pods(CHECKER)
    eventually("the gateway for the worker", lambda: "gateway" in reached(real, worker["metadata"]["name"]))
    if not plugin_enforces_policies(real):
        pytest.skip("this cluster's network plugin admits network policies and enforces none")
    assert reached(real, pod["metadata"]["name"]) == set()
