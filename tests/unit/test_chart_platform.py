"""What a platform team sets of any chart, as ci/dra-values.yaml does: scheduling, claims of devices, budgets, scaling,
logs.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.chart import CHECKER, COMPONENTS, MODELS, named, needs_helm, pod_specs, refusal, render

pytestmark = needs_helm


@pytest.fixture(scope="module")
def objects() -> list[dict[str, Any]]:
    return render("dra")


def test_models_claim_devices_instead_of_a_plugins_resource(objects: list[dict[str, Any]]) -> None:
    for model in MODELS:
        spec = pod_specs(objects)[f"Deployment/t-tandem-{model}"]
        [container] = spec["containers"]
        count = "two-gpus" if model == "insight-generator" else "one-gpu"
        assert spec["resourceClaims"] == [{"name": "gpu", "resourceClaimTemplateName": count}]
        assert container["resources"]["claims"] == [{"name": "gpu"}]
        assert "nvidia.com/gpu" not in str(container["resources"])
        assert {"name": "TANDEM_DEVICE", "value": "cuda"} in container["env"]
        assert container["image"].endswith("-vllm" if model == "insight-generator" else "-cuda")
        assert named(objects, "Deployment", model)["spec"]["strategy"] == {"type": "Recreate"}


def test_every_pod_is_placed_and_named_as_the_defaults_say(objects: list[dict[str, Any]]) -> None:
    for component in COMPONENTS:
        spec = pod_specs(objects)[f"Deployment/t-tandem-{component}"]
        assert spec["schedulerName"] == "gang"
        assert spec["dnsConfig"]["options"] == [{"name": "ndots", "value": "2"}]
        assert {"name": "TANDEM_LOG_FORMAT", "value": "json"} in spec["containers"][0]["env"]
        assert {"name": "TANDEM_LOG_LEVEL", "value": "WARNING"} in spec["containers"][0]["env"]


def test_addresses_and_environment_of_the_defaults_reach_every_pod_but_the_checkers(
    objects: list[dict[str, Any]],
) -> None:
    for component in COMPONENTS:
        spec = pod_specs(objects)[f"Deployment/t-tandem-{component}"]
        given = spec.get("hostAliases"), spec["containers"][0].get("envFrom")
        said = [{"ip": "10.0.0.1", "hostnames": ["redis.data"]}], [{"configMapRef": {"name": "proxies"}}]
        assert given == ((None, None) if component == CHECKER else said)


def test_budgets_balancers_and_scaling_take_what_kubernetes_has(objects: list[dict[str, Any]]) -> None:
    budget = named(objects, "PodDisruptionBudget", "gateway")["spec"]
    assert (budget["minAvailable"], budget["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")
    assert "maxUnavailable" not in budget
    balancer = named(objects, "Service", "gateway")["spec"]
    assert balancer["loadBalancerClass"] == "service.k8s.aws/nlb"
    assert (balancer["externalTrafficPolicy"], balancer["loadBalancerSourceRanges"]) == ("Local", ["198.51.100.0/24"])
    behavior = named(objects, "HorizontalPodAutoscaler", "answer-checker")["spec"]["behavior"]
    assert behavior == {
        "scaleUp": {"stabilizationWindowSeconds": 30}, "scaleDown": {"stabilizationWindowSeconds": 300}
    }  # fmt: skip
    worker = named(objects, "ScaledObject", "worker")
    assert worker["spec"]["fallback"] == {"failureThreshold": 3, "replicas": 2}
    assert worker["metadata"]["annotations"] == {"autoscaling.keda.sh/paused-scale-in": "true"}


@pytest.mark.parametrize("families", ["ipFamilies={IPv6}", "ipFamilyPolicy=PreferDualStack"])
def test_with_ipv6_every_service_and_every_process_has_it(families: str) -> None:
    objects = render("gpu", f"network.{families}")
    services = [o["spec"] for o in objects if o["kind"] == "Service"]
    said = {"ipFamilies": ["IPv6"]} if "Families=" in families else {"ipFamilyPolicy": "PreferDualStack"}
    assert all(said.items() <= spec.items() for spec in services)
    for component in COMPONENTS:
        [container] = pod_specs(objects)[f"Deployment/t-tandem-{component}"]["containers"]
        assert {"name": "TANDEM_HOST", "value": "::"} in container["env"]
    assert "ipFamil" not in str([o for o in render("gpu") if o["kind"] == "Service"])


def test_a_token_of_the_cluster_is_in_the_pods_that_ask_for_it_and_never_beside_code_of_a_model() -> None:
    objects = render("gpu", "defaults.serviceAccount.automount=true")
    for component in COMPONENTS:
        account = named(objects, "ServiceAccount", component)["automountServiceAccountToken"]
        pod = pod_specs(objects)[f"Deployment/t-tandem-{component}"]["automountServiceAccountToken"]
        assert account is pod is (component != CHECKER)


@pytest.mark.parametrize("field", ["hostNetwork", "nodeSelector", "containers"])
def test_more_fields_of_a_pod_are_none_that_the_chart_writes_and_none_of_the_hosts(field: str) -> None:
    assert f"/defaults/extraPodSpec/{field}" in refusal("gpu", f"defaults.extraPodSpec.{field}=x")


def test_pods_of_jobs_may_stay_out_of_a_mesh_and_those_that_serve_are_in_it() -> None:
    out = {"sidecar.istio.io/inject": "false"}
    objects = render("mesh")
    for o in objects:
        pod = o if o["kind"] == "Pod" else (o.get("spec") or {}).get("template")
        if pod and o["kind"] in ("Job", "Pod"):
            assert out.items() <= pod["metadata"]["labels"].items(), o["metadata"]["name"]
    checker, worker = (
        named(objects, "Deployment", name)["spec"]["template"]["metadata"] for name in (CHECKER, "worker")
    )
    assert out.items() <= checker["labels"].items()
    assert "sidecar.istio.io/inject" not in worker["labels"]


def test_policies_let_every_pod_but_the_checkers_reach_the_meshs_control_plane() -> None:
    objects = render("mesh")
    for component in (*COMPONENTS, "setup", "pull", "test"):
        rules = named(objects, "NetworkPolicy", component)["spec"]["egress"]
        ports = {port["port"] for rule in rules for port in rule["ports"]}
        assert (15012 in ports) == (component != CHECKER), component


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
