"""What an operator would trip over on the first day: ports, placement, room for an upgrade, time for a start."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chart import CI, MODELS, duplicate_keys, named, needs_helm, pod_specs, refusal, render

pytestmark = needs_helm
JOBS = ("Job/t-tandem-setup", "Pod/t-tandem-test")


def egress_ports(objects: list[dict[str, Any]], component: str) -> set[int]:
    policy = named(objects, "NetworkPolicy", component)["spec"]
    return {port["port"] for rule in policy["egress"] for port in rule["ports"]}


def test_a_services_port_may_be_any_and_the_pods_keep_theirs() -> None:
    objects = render("gpu", "gateway.service.port=443", "httpGateway.service.port=80")
    for component, port, container in (("gateway", 443, 50051), ("http-gateway", 80, 8080)):
        [service] = named(objects, "Service", component)["spec"]["ports"]
        assert service["port"] == port
        [pods] = [p for p in named(objects, "Service", f"{component}-pods")["spec"]["ports"] if p["name"] != "metrics"]
        assert pods["port"] == container
        [pod] = pod_specs(objects)[f"Deployment/t-tandem-{component}"]["containers"]
        assert [p["containerPort"] for p in pod["ports"] if p["name"] != "metrics"] == [container]


def test_jobs_and_the_test_run_where_the_component_does_that_they_stand_for() -> None:
    here = {"kubernetes.io/arch": "amd64"}
    sets = ("defaults.nodeSelector.kubernetes\\.io/arch=amd64", "defaults.priorityClassName=high")
    specs = pod_specs(render("gpu", *sets))
    [pull] = [name for name in specs if name.startswith("Job/t-tandem-pull-")]
    for name in (*JOBS, pull):
        assert specs[name]["nodeSelector"] == here, name
        assert specs[name]["priorityClassName"] == "high", name


def test_an_upgrade_of_a_model_needs_no_second_gpu_in_either_mode() -> None:
    no_surge = {"maxSurge": 0, "maxUnavailable": 1}
    for model in MODELS:
        assert named(render("gpu"), "Deployment", model)["spec"]["strategy"]["rollingUpdate"] == no_surge
        predictor = named(render("kserve"), "InferenceService", model)["spec"]["predictor"]
        assert predictor["deploymentStrategy"]["rollingUpdate"] == no_surge


def test_a_model_that_waits_for_its_weights_is_no_failed_rollout() -> None:
    spec = named(render("gpu"), "Deployment", "insight-generator")["spec"]
    [wait] = spec["template"]["spec"]["initContainers"]
    waits, startup = int(wait["args"][-1]), spec["template"]["spec"]["containers"][0]["startupProbe"]
    assert spec["progressDeadlineSeconds"] > waits + startup["periodSeconds"] * startup["failureThreshold"]


def test_a_download_is_tried_until_it_is_done() -> None:
    [job] = [o for o in render("gpu") if o["kind"] == "Job" and "-pull-" in o["metadata"]["name"]]
    assert job["spec"]["backoffLimit"] >= 1000


def test_one_digest_cannot_name_several_images() -> None:
    digest = f"sha256:{'0' * 64}"
    assert "names one image" in refusal("gpu", f"image.digest={digest}")
    assert "names one image" in refusal("minimal", f"image.digest={digest}", "image.roles=true")
    specs = pod_specs(render("minimal", f"image.digest={digest}"))
    assert {c["image"] for n, s in specs.items() if "demo" not in n for c in s["containers"]} == {
        f"tandem.local/tandem@{digest}"
    }
    one = render("gpu", f"insightGenerator.image.digest={digest}")
    assert pod_specs(one)["Deployment/t-tandem-insight-generator"]["containers"][0]["image"].endswith(digest)


def test_a_component_may_have_a_pull_policy_of_its_own() -> None:
    specs = pod_specs(render("gpu", "worker.image.pullPolicy=Always"))
    assert specs["Deployment/t-tandem-worker"]["containers"][0]["imagePullPolicy"] == "Always"
    assert specs["Deployment/t-tandem-gateway"]["containers"][0]["imagePullPolicy"] == "IfNotPresent"


def test_keda_is_not_sent_to_a_temporal_that_it_cannot_speak_tls_to() -> None:
    said = refusal("gpu", "temporal.tls.enabled=true", "worker.autoscaling.enabled=true")
    assert "keda speaks TLS to Temporal only with" in said


def test_keda_is_told_how_to_use_the_credentials_for_prometheus() -> None:
    sets = (
        "insightGenerator.autoscaling.prometheusAuthentication=prom",
        "insightGenerator.autoscaling.prometheusAuthModes=bearer",
    )
    [trigger] = named(render("gpu", *sets), "ScaledObject", "insight-generator")["spec"]["triggers"]
    assert trigger["metadata"]["authModes"] == "bearer"


def test_load_is_that_of_the_components_own_pods() -> None:
    [trigger] = named(render("gpu"), "ScaledObject", "insight-generator")["spec"]["triggers"]
    assert 'pod=~"t-tandem-insight-generator-' in trigger["metadata"]["query"]


@pytest.mark.parametrize(
    ("url", "port"),
    [("http://vllm:8000/v1", 8000), ("https://api.example.com/v1", 443), ("http://inside/v1", 80)],
)
def test_the_policy_lets_out_what_goes_to_the_api(url: str, port: int) -> None:
    policies = ("networkPolicy.enabled=true", "redis.ports={6380}")
    sets = (*policies, f"insightGenerator.api.baseUrl={url}", "networkPolicy.extraPorts={3128}")
    objects = render("external-secrets", *sets)
    assert {port, 3128} <= egress_ports(objects, "insight-generator")
    assert 3128 in egress_ports(objects, "http-gateway")


def test_the_policy_lets_the_gateway_read_an_issuers_keys_at_their_port() -> None:
    sets = ("networkPolicy.enabled=true", "auth.oidc.issuer=https://login.example.com:8443/realm")
    assert 8443 in egress_ports(render("gpu", *sets), "gateway")


def test_kserves_own_names_of_a_long_release_fit_a_service() -> None:
    objects = render("kserve", f"fullnameOverride={'long' * 12}")
    names = [o["metadata"]["name"] for o in objects if o["kind"] == "InferenceService"]
    assert max(len(f"{name}-predictor") for name in names) <= 63


def test_the_demos_probe_asks_the_first_of_its_ports_by_name() -> None:
    for name, spec in pod_specs(render("minimal")).items():
        if "-demo-" in name:
            [container] = spec["containers"]
            first = min(port["name"] for port in container["ports"])
            assert container["readinessProbe"]["tcpSocket"]["port"] == first, name


def test_a_worker_has_the_time_of_its_handover_beside_that_of_its_drain() -> None:
    specs = pod_specs(render("gpu", "defaults.drainSeconds=40"))
    worker, gateway = (specs[f"Deployment/t-tandem-{name}"] for name in ("worker", "gateway"))
    assert gateway["terminationGracePeriodSeconds"] == 40 + 5 + 10
    assert worker["terminationGracePeriodSeconds"] == 40 + 5 + 10 + 900


def test_versions_need_no_hook() -> None:
    specs = pod_specs(render("gpu", "temporal.setup=false"))
    assert "Job/t-tandem-setup" not in specs
    assert "TANDEM_BUILD" in str(specs["Deployment/t-tandem-worker"])
    assert "TANDEM_BUILD" not in str(pod_specs(render("gpu", "worker.versioning=false")))


def test_variables_and_annotations_of_an_operator_replace_ours() -> None:
    sets = (
        "gateway.extraEnv[0].name=OTEL_RESOURCE_ATTRIBUTES", "gateway.extraEnv[0].value=team=ai",
        "podAnnotations.prometheus\\.io/scrape=no", "commonLabels.app\\.kubernetes\\.io/part-of=mine",
    )  # fmt: skip
    objects = render("gpu", *sets)
    [container] = pod_specs(objects)["Deployment/t-tandem-gateway"]["containers"]
    found = [each for each in container["env"] if each["name"] == "OTEL_RESOURCE_ATTRIBUTES"]
    assert found == [{"name": "OTEL_RESOURCE_ATTRIBUTES", "value": "team=ai"}]
    metadata = named(objects, "Deployment", "gateway")["spec"]["template"]["metadata"]
    assert metadata["annotations"]["prometheus.io/scrape"] == "no"
    assert metadata["labels"]["app.kubernetes.io/part-of"] == "mine"


def test_no_document_says_a_key_twice() -> None:
    sets = (
        "podAnnotations.prometheus\\.io/port=1",
        "commonLabels.app\\.kubernetes\\.io/version=2",
        "defaults.podLabels.helm\\.sh/chart=3",
    )
    assert duplicate_keys("gpu", *sets) == []


def test_temporals_authority_and_our_certificate_are_two_secrets_and_either_may_be_missing() -> None:
    def read(*sets: str) -> set[str]:
        specs = pod_specs(render("gpu", *sets))
        [container] = specs["Deployment/t-tandem-worker"]["containers"]
        return {each["name"] for each in container["env"] if each["name"].startswith("TEMPORAL_TLS_")}

    authority = {"TEMPORAL_TLS_SERVER_CA_CERT_PATH"}
    ours = {"TEMPORAL_TLS_CLIENT_CERT_PATH", "TEMPORAL_TLS_CLIENT_KEY_PATH"}
    assert read("temporal.tls.existingSecret=client") == ours
    assert read("temporal.tls.caSecret=authority") == authority
    assert read("temporal.tls.existingSecret=client", "temporal.tls.caSecret=authority") == authority | ours


def test_keda_has_the_clients_certificate_and_no_authority_that_was_not_given() -> None:
    sets = ("worker.autoscaling.enabled=true", "temporal.tls.existingSecret=client")

    def parameters(*more: str) -> set[tuple[str, str]]:
        [found] = [o["spec"] for o in render("gpu", *sets, *more) if o["kind"] == "TriggerAuthentication"]
        return {(each["parameter"], each["name"]) for each in found["secretTargetRef"]}

    assert parameters() == {("cert", "client"), ("key", "client")}
    assert parameters("temporal.tls.caSecret=authority") == {("cert", "client"), ("key", "client"), ("ca", "authority")}


@pytest.mark.parametrize("values", CI)
def test_a_drain_takes_one_pod_of_each_component_at_a_time_and_is_never_blocked(values: str) -> None:
    objects = render(values, "gateway.pdb.minAvailable=")  # one of the files has its own budget for the gateway
    budgets = [o["spec"] for o in objects if o["kind"] == "PodDisruptionBudget"]
    assert all(budget["maxUnavailable"] == 1 and "minAvailable" not in budget for budget in budgets)
    for each in objects:
        name, spec = each["metadata"]["name"], each.get("spec") or {}
        pods = spec.get("predictor", {}).get("labels") or spec.get("template", {}).get("metadata", {}).get("labels", {})
        if each["kind"] in ("Deployment", "InferenceService") and "-demo-" not in name:
            assert any(budget["selector"]["matchLabels"].items() <= pods.items() for budget in budgets), name
