"""What a platform team sets of any chart, as ci/dra-values.yaml does: scheduling, claims of devices, budgets, scaling, monitors, logs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chart import CHECKER, COMPONENTS, MODELS, named, needs_helm, pod_specs, render

pytestmark = needs_helm


@pytest.fixture(scope="module")
def objects() -> list[dict[str, Any]]:
    return render("dra")


def test_models_claim_devices_instead_of_a_plugins_resource(objects: list[dict[str, Any]]) -> None:
    for model in MODELS:
        spec = pod_specs(objects)[f"Deployment/t-tandem-{model}"]
        [container] = spec["containers"]
        assert spec["resourceClaims"] == [{"name": "gpu", "resourceClaimTemplateName": "one-gpu"}]
        assert container["resources"]["claims"] == [{"name": "gpu"}]
        assert "nvidia.com/gpu" not in str(container["resources"])
        assert {"name": "TANDEM_DEVICE", "value": "cuda"} in container["env"]
        assert named(objects, "Deployment", model)["spec"]["strategy"] == {"type": "Recreate"}


def test_every_pod_is_placed_and_named_as_the_defaults_say(objects: list[dict[str, Any]]) -> None:
    for component in COMPONENTS:
        spec = pod_specs(objects)[f"Deployment/t-tandem-{component}"]
        assert spec["schedulerName"] == "gang"
        assert spec["dnsConfig"]["options"] == [{"name": "ndots", "value": "2"}]
        assert {"name": "TANDEM_LOG_FORMAT", "value": "json"} in spec["containers"][0]["env"]
        assert named(objects, "Deployment", component)["spec"]["minReadySeconds"] == 5


def test_addresses_and_environment_of_the_defaults_reach_every_pod_but_the_checkers(
    objects: list[dict[str, Any]],
) -> None:
    for component in COMPONENTS:
        spec = pod_specs(objects)[f"Deployment/t-tandem-{component}"]
        given = spec.get("hostAliases"), spec["containers"][0].get("envFrom")
        said = [{"ip": "10.0.0.1", "hostnames": ["redis.data"]}], [{"configMapRef": {"name": "proxies"}}]
        assert given == ((None, None) if component == CHECKER else said)


def test_budgets_balancers_scaling_and_monitors_take_what_kubernetes_has(objects: list[dict[str, Any]]) -> None:
    budget = named(objects, "PodDisruptionBudget", "gateway")["spec"]
    assert (budget["minAvailable"], budget["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")
    assert "maxUnavailable" not in budget
    assert named(objects, "Service", "gateway")["spec"]["loadBalancerClass"] == "service.k8s.aws/nlb"
    behavior = named(objects, "HorizontalPodAutoscaler", "answer-checker")["spec"]["behavior"]
    assert behavior == {
        "scaleUp": {"stabilizationWindowSeconds": 30}, "scaleDown": {"stabilizationWindowSeconds": 300}
    }  # fmt: skip
    assert named(objects, "ScaledObject", "worker")["spec"]["fallback"] == {"failureThreshold": 3, "replicas": 2}
    [monitor] = [o["spec"]["endpoints"] for o in objects if o["kind"] == "ServiceMonitor"]
    assert monitor[0]["scrapeTimeout"] == "10s"
    assert monitor[0]["relabelings"] == [{"targetLabel": "cluster", "replacement": "eu-1"}]


def test_an_uninstall_leaves_the_weights_where_the_values_say_so() -> None:
    keep = r"modelCache.annotations.helm\.sh/resource-policy=keep"
    for values in ("dra", "kserve"):
        claims = [o for o in render(values, keep) if o["kind"] == "PersistentVolumeClaim"]
        assert claims
        assert {o["metadata"]["annotations"]["helm.sh/resource-policy"] for o in claims} == {"keep"}
        assert "resource-policy" not in str(render(values))


def test_openshift_gives_users_itself() -> None:
    for name, spec in pod_specs(render("openshift")).items():
        assert not {"runAsUser", "runAsGroup", "fsGroup"} & spec["securityContext"].keys(), name
        assert spec["securityContext"]["runAsNonRoot"] is True, name


def test_on_openshift_the_checker_alone_can_keep_a_user_of_its_own() -> None:
    """With the SCC nonroot-v2 for its service account, as docs/platforms.md says."""
    specs = pod_specs(render("openshift", "answerChecker.podSecurityContext.runAsUser=10002"))
    users = {name: spec["securityContext"].get("runAsUser") for name, spec in specs.items()}
    assert {name: user for name, user in users.items() if user} == {f"Deployment/t-tandem-{CHECKER}": 10002}
