"""The chart on a real cluster of two nodes with fake GPUs, with the real pair: where pods land, what a client gets,
what an operator reads, and that nothing leaves the checker's pod. Run by `make e2e-k8s`, in the network of the first
node.
"""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tandem import Client, StageCompleted, to_dict
from tandem.tracing.jaeger import fetch_trace
from tandem.v1 import execution_pb2, insight_pb2_grpc, tandem_pb2
from tests.e2e.k8s.layout import NODES
from tests.e2e.k8s.pods import run_python, start_idle_pod
from tests.e2e.k8s.release import CHECKER, COMPONENTS, MODELS, NAME, Release, eventually, pod_is_ready

pytestmark = [pytest.mark.timeout(1800), pytest.mark.alone]
SERVING = health_pb2.HealthCheckResponse.SERVING
QUESTION = "Tom has 3 boxes with 12 apples each. He eats 4 apples. How many apples are left?"
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


def node_of(pod: dict[str, Any]) -> str:
    return str(pod["spec"]["nodeName"])


def generated_by(pod: dict[str, Any]) -> int:
    """Tokens that the large model's process has generated since it started."""
    with grpc.insecure_channel(f"{pod['status']['podIP']}:50051") as channel:
        info = insight_pb2_grpc.InsightGeneratorStub(channel).GetModelInfo(execution_pb2.GetModelInfoRequest())
    return int(info.output_tokens_total)


def why_pending(release: Release, component: str) -> str:
    """The scheduler's reason; empty while it has none."""
    for pod in release.pods(component):
        for condition in pod["status"].get("conditions", []):
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                return str(condition.get("message", ""))
    return ""


def health(pod: dict[str, Any], service: str) -> Any:
    """What the pod's process says of itself; None while it does not answer."""
    port = pod["spec"]["containers"][0]["readinessProbe"]["grpc"]["port"]
    with grpc.insecure_channel(f"{pod['status'].get('podIP', '')}:{port}") as channel:
        try:
            return (
                health_pb2_grpc.HealthStub(channel)
                .Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
                .status
            )
        except grpc.RpcError:
            return None


def reached(release: Release, pod: str) -> set[str]:
    """What code in this pod reaches, outside any sandbox: of "gateway" and "dns"."""
    address = release.gateway.partition(":")[0]
    words = (address, f"{NAME}-gateway.{release.namespace}.svc")
    return set(run_python(release.cluster, release.namespace, pod, PROBE, *words).split())


def plugin_enforces_policies(release: Release) -> bool:
    """A pod that one policy forbids every connection, and that shares nothing else with the checker, reaches
    nothing.
    """
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


def test_each_model_lands_on_its_pool_and_gets_its_gpu(real: Release) -> None:
    nodes = {component: {node_of(pod) for pod in real.pods(component)} for component in MODELS}
    assert nodes == {"insight-generator": {"kn2"}, "sufficiency-scorer": {"kn1"}, "slm-executor": {"kn1"}}
    for component in MODELS:
        [pod] = real.pods(component)
        container = pod["spec"]["containers"][0]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
        devices = real.kubectl(
            "exec", pod["metadata"]["name"], "-c", container["name"], "--", "printenv", "NVIDIA_VISIBLE_DEVICES"
        )
        assert devices.strip()


def test_kserve_serves_the_models_where_it_is_asked_to(real: Release) -> None:
    if real.mode != "kserve":
        assert {pod["metadata"]["ownerReferences"][0]["kind"] for pod in real.pods("slm-executor")} == {"ReplicaSet"}
        return
    services = real.get("inferenceservices")["items"]
    assert {s["metadata"]["name"] for s in services} == {f"{NAME}-{component}" for component in MODELS}
    for service in services:
        ready = {c["type"]: c["status"] for c in service["status"]["conditions"]}["Ready"]
        assert ready == "True", service["metadata"]["name"]


def test_helm_test_passes(real: Release) -> None:
    try:
        real.cluster.helm("test", NAME, "-n", real.namespace, "--timeout", "5m")
    except RuntimeError as failure:
        pytest.fail(f"{failure}\n{real.kubectl('logs', f'{NAME}-test')}")
    log = real.kubectl("logs", f"{NAME}-test")
    assert "answer" in log
    assert "no  " not in log


def test_a_client_gets_stages_answer_and_bill_and_the_stop_reaches_the_large_model(real: Release) -> None:
    [pod] = real.pods("insight-generator")
    before = generated_by(pod)
    with Client(real.gateway) as client:
        events = list(client.solve(QUESTION, thresholds={0: 1.0, 1: 0.0}))
    result = to_dict(events[-1].result)
    assert [e.stage for e in events if isinstance(e, StageCompleted)] == [1]
    assert result["answer"]
    assert result["stop"]["reason"] == "sufficient"
    used = result["usage"]["llm"]
    assert used["output_tokens"] >= 48
    assert result["cost"]["usd"] > 0
    # The model is aborted, and the pod has generated what is billed, to the token.
    billed = sum(used[f"{state}_tokens"] for state in ("output", "overrun", "discarded"))
    assert generated_by(pod) - before == billed
    with Client(real.gateway) as client:
        client.ask(QUESTION, thresholds={0: 0.0})  # a request that needs only the small model: time for a token more
    assert generated_by(pod) - before == billed


def test_the_trace_is_in_the_jaeger_that_runs_in_the_cluster_and_adds_up(real: Release) -> None:
    if real.mode == "kserve":
        pytest.skip("helm test reads a trace in both modes")
    with Client(real.gateway) as client:
        result = to_dict(client.ask("What is 6 * 7?"))

    def whole() -> bool:
        return fetch_trace(real.jaeger, result["trace_id"]).adds_up

    assert eventually("the trace", whole, 60)
    assert fetch_trace(real.jaeger, result["trace_id"]).leaf_usd == pytest.approx(result["cost"]["usd"])


def test_a_pool_that_is_full_or_not_there_leaves_a_pod_pending_with_the_reason(real: Release) -> None:
    if real.mode == "kserve":
        pytest.skip("the scheduler's words are the same: the pods are Deployments' in both modes")
    real.upgrade(values={"insightGenerator": {"gpus": NODES[1].gpus}}, waits=False)  # one is in use
    full = eventually("the reason", lambda: why_pending(real, "insight-generator"))
    assert "Insufficient nvidia.com/gpu" in full
    real.upgrade()
    real.upgrade(values={"pools": {"llm": {"nodeSelector": {"tandem.dev/pool": "nowhere"}}}}, waits=False)
    missing = eventually("the reason", lambda: why_pending(real, "insight-generator"))
    assert "node affinity/selector" in missing
    real.upgrade()
    real.wait_until_ready()


def test_the_readiness_probe_of_each_pod_asks_for_a_service_that_it_serves(real: Release) -> None:
    for component in COMPONENTS:
        for pod in real.pods(component):
            service = pod["spec"]["containers"][0]["readinessProbe"]["grpc"]["service"]
            assert service, component
            assert health(pod, service) == SERVING, component
            assert health(pod, f"{service}.Other") is None, component


def test_a_pod_is_ready_only_when_its_model_is_loaded(real: Release) -> None:
    """A new pod of the small model is alive and not ready while it loads; Kubernetes calls it ready only afterwards."""
    [old] = real.pods("slm-executor")
    name, service = old["metadata"]["name"], old["spec"]["containers"][0]["readinessProbe"]["grpc"]["service"]
    real.kubectl("delete", "pod", name, "--wait=false")
    seen: list[tuple[bool, bool]] = []  # (Kubernetes says ready, the process says that the model is loaded), in time

    def is_ready() -> bool:
        for pod in real.pods("slm-executor"):
            if pod["metadata"]["name"] != name and health(pod, "") == SERVING:
                seen.append((pod_is_ready(pod), health(pod, service) == SERVING))
        return bool(seen) and seen[-1][0]

    eventually("the new pod", is_ready, 600)
    assert (False, False) in seen  # it was seen while it loaded
    assert (True, False) not in seen


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
