"""The chart for a pair with a second small model: an executor of its own, which is called as the first one is, and is
there only where it is named.
"""

from __future__ import annotations

import pytest

from tests.chart import named, needs_helm, pod_specs, refusal, render
from tests.unit.test_chart_apis import open_ports, variables

pytestmark = needs_helm
SECOND = "second-slm-executor"
NAMES_ONE = 'name = \\"two-small\\"\n[second_slm]\nname = \\"b\\"'
NAMES_IN_ORDER = 'name = \\"two-small\\"\n[[slm]]\nname = \\"a\\"\n[[slm]]\nname = \\"b\\"'
NAMES_THREE = f'{NAMES_IN_ORDER}\n[[slm]]\nname = \\"c\\"'
NAMES_NONE = 'name = \\"two-small\\"\n[slm]\nname = \\"b\\"'
FILE = "profile.files.profile\\.toml="
SECOND_BLOCK = "smallModels[0].engine=anthropic", "smallModels[0].api.baseUrl=https://api.anthropic.com"
BOTH = *SECOND_BLOCK, "smallModels[1].engine=openai", "smallModels[1].api.baseUrl=http://third.models.svc:8000/v1"


def test_the_second_model_has_a_deployment_a_service_and_a_budget_of_its_own() -> None:
    objects = render("two-small")
    [container] = pod_specs(objects)[f"Deployment/t-tandem-{SECOND}"]["containers"]
    assert container["args"] == ["python", "-m", "services.slm_executor"]
    assert container["readinessProbe"]["grpc"]["service"] == "tandem.v1.SlmExecutor"
    kinds = {o["kind"] for o in objects if o["metadata"]["name"].startswith(f"t-tandem-{SECOND}")}
    assert kinds == {"Deployment", "Service", "ServiceAccount", "PodDisruptionBudget", "NetworkPolicy"}


def test_it_has_its_own_engine_and_its_own_secret_alone() -> None:
    specs = pod_specs(render("two-small"))
    mine = variables(specs[f"Deployment/t-tandem-{SECOND}"])
    assert (mine["TANDEM_ENGINE"]["value"], mine["TANDEM_PROFILE"]["value"]) == ("anthropic", "two-small")
    assert mine["ANTHROPIC_API_KEY"]["valueFrom"]["secretKeyRef"]["name"] == "tandem-second"
    assert "OPENAI_API_KEY" not in mine
    for name, spec in specs.items():
        assert ("'tandem-second'" in str(spec)) == name.endswith(SECOND), name


def test_the_worker_knows_its_address_and_nobody_else_may_call_it() -> None:
    objects = render("two-small")
    worker = variables(pod_specs(objects)["Deployment/t-tandem-worker"])
    assert worker["TANDEM_SLM_EXECUTORS"]["value"] == f"second_slm=dns:///t-tandem-{SECOND}-pods.ns.svc:50051"
    policy = named(objects, "NetworkPolicy", SECOND)["spec"]
    [ingress] = policy["ingress"]
    [caller] = ingress["from"]
    assert caller["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "worker"
    assert open_ports(objects, SECOND) == {6379: "anywhere", 443: [{"ipBlock": {"cidr": "203.0.113.0/24"}}]}
    assert f"'app.kubernetes.io/component': '{SECOND}'" in str(
        named(objects, "NetworkPolicy", "worker")["spec"]["egress"]
    )


def test_it_is_the_executor_once_more_for_redis_certificates_and_images() -> None:
    tls = "tls.enabled=true", "tls.certManager.issuerRef.name=ca", "redis.usersSecret=users", "image.roles=true"
    objects = render("two-small", *tls)
    certificate = named(objects, "Certificate", SECOND)["spec"]
    assert certificate["uris"] == ["spiffe://tandem/slm-executor"]
    assert certificate["dnsNames"] == [f"t-tandem-{SECOND}-pods.ns.svc"]
    spec = pod_specs(objects)[f"Deployment/t-tandem-{SECOND}"]
    assert variables(spec)["REDIS_USERNAME"]["value"] == "tandem-slm-executor"
    assert spec["containers"][0]["image"].partition(":")[0].endswith("-slm-executor")


@pytest.mark.parametrize("values", ["hosted", "gpu", "minimal"])
def test_without_a_second_model_there_is_nothing_of_it(values: str) -> None:
    objects = [o for o in render(values) if o["kind"] not in ("ConfigMap", "PrometheusRule")]
    assert "second_slm" not in str(objects).lower().replace("-", "_")


def test_a_profile_and_its_executor_are_there_together() -> None:
    assert render("two-small", f"{FILE}{NAMES_ONE}")
    assert render("two-small", f"{FILE}{NAMES_IN_ORDER}")
    one_each = "smallModels has {} blocks, and profile.toml names {} further small models"
    assert one_each.format(1, 0) in refusal("two-small", f"{FILE}{NAMES_NONE}")
    assert one_each.format(1, 2) in refusal("two-small", f"{FILE}{NAMES_THREE}")
    assert one_each.format(0, 1) in refusal("hosted", f"{FILE}{NAMES_ONE}")


def test_a_third_model_is_values_alone() -> None:
    objects = render("two-small", *BOTH, f"{FILE}{NAMES_THREE}")
    specs = pod_specs(objects)
    assert variables(specs["Deployment/t-tandem-third-slm-executor"])["TANDEM_ROLE"]["value"] == "third_slm"
    known = variables(specs["Deployment/t-tandem-worker"])["TANDEM_SLM_EXECUTORS"]["value"]
    assert [each.partition("=")[0] for each in known.split(",")] == ["second_slm", "third_slm"]
    assert named(objects, "NetworkPolicy", "third-slm-executor")["spec"]["ingress"]


def test_a_block_has_the_defaults_of_all_models_and_nothing_of_the_first_small_one() -> None:
    sets = "slmExecutor.api.existingSecret=first", "modelDefaults.maxBatch=7"
    second = variables(pod_specs(render("two-small", *BOTH, *sets))["Deployment/t-tandem-third-slm-executor"])
    assert (second["TANDEM_MAX_BATCH"]["value"], second["OPENAI_API_KEY"]["value"]) == ("7", "none")


def test_a_fourth_small_model_is_refused() -> None:
    assert "smallModels" in refusal("two-small", *BOTH, *(each.replace("[1]", "[2]") for each in BOTH))


def test_of_several_pairs_one_alone_may_have_a_second_model() -> None:
    specs = pod_specs(render("two-small", "profiles[0].name=other"))
    assert f"Deployment/t-tandem-{SECOND}" in specs
    assert f"Deployment/t-tandem-{SECOND}-other" not in specs
    assert "TANDEM_SLM_EXECUTORS" not in variables(specs["Deployment/t-tandem-worker-other"])


def test_another_pair_has_small_models_of_its_own_or_shares_those_of_the_first() -> None:
    of_other = "profiles[0].name=other", "profiles[0].smallModels[0]"
    own = pod_specs(
        render("two-small", of_other[0], f"{of_other[1]}.engine=openai", f"{of_other[1]}.api.baseUrl=http://a")
    )
    assert variables(own[f"Deployment/t-tandem-{SECOND}-other"])["TANDEM_ENGINE"]["value"] == "openai"
    shared = pod_specs(render("two-small", of_other[0], f"{of_other[1]}.sharedWith=two-small"))
    assert f"Deployment/t-tandem-{SECOND}-other" not in shared
    address = variables(shared["Deployment/t-tandem-worker-other"])["TANDEM_SLM_EXECUTORS"]["value"]
    assert address == f"second_slm=dns:///t-tandem-{SECOND}-pods.ns.svc:50051"


def test_a_second_model_of_this_cluster_is_downloaded_as_the_others_are() -> None:
    own = (
        "smallModels[0].engine=auto", "modelCache.type=shared", "modelCache.accessMode=ReadWriteMany",
        "smallModels[0].gpus=0",
    )  # fmt: skip
    objects = render("two-small", *own)
    [wait] = pod_specs(objects)[f"Deployment/t-tandem-{SECOND}"]["initContainers"]
    assert wait["args"][wait["args"].index("--only") + 1] == "second_slm"
    [job] = [o for o in objects if o["kind"] == "Job" and "-pull-" in o["metadata"]["name"]]
    [pull] = job["spec"]["template"]["spec"]["containers"]
    assert (pull["name"], pull["args"][4]) == ("second-slm-llamacpp", "second_slm")
