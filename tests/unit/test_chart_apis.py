"""The chart for models that others run: no pool, no weights, no scorer, a secret of each role, and policies that open
what the role calls.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.chart import named, needs_helm, pod_specs, refusal, render

pytestmark = needs_helm
ROLES = ("insight-generator", "slm-executor")
PAIRS = ("hosted", "in-cluster")
DNS = {("UDP", 53), ("TCP", 53), ("UDP", 5353), ("TCP", 5353)}


def variables(spec: dict[str, Any]) -> dict[str, Any]:
    [container] = spec["containers"]
    return {each["name"]: each for each in container["env"]}


def open_ports(objects: list[dict[str, Any]], component: str) -> dict[int, Any]:
    """`to` by port, of what a policy opens besides DNS."""
    rules = named(objects, "NetworkPolicy", component)["spec"]["egress"]
    return {
        port["port"]: rule.get("to", "anywhere")
        for rule in rules
        for port in rule["ports"]
        if (port["protocol"], port["port"]) not in DNS
    }


@pytest.mark.parametrize("values", PAIRS)
def test_models_of_others_need_no_pool_no_weights_and_no_scorer(values: str) -> None:
    objects = render(values)
    specs = pod_specs(objects)
    for role in ROLES:
        spec = specs[f"Deployment/t-tandem-{role}"]
        assert "nodeSelector" not in spec
        assert "initContainers" not in spec
        assert "nvidia.com/gpu" not in spec["containers"][0]["resources"]["limits"]
    assert not [o for o in objects if "sufficiency-scorer" in o["metadata"]["name"]]
    assert not [o for o in objects if o["kind"] == "PersistentVolumeClaim" or "-pull" in o["metadata"]["name"]]


def test_each_role_has_its_own_engine_address_and_secret() -> None:
    specs = pod_specs(render("hosted"))
    large, small = (variables(specs[f"Deployment/t-tandem-{role}"]) for role in ROLES)
    assert large["TANDEM_ENGINE"]["value"] == "openai"
    assert small["TANDEM_ENGINE"]["value"] == "anthropic"
    assert large["OPENAI_BASE_URL"]["value"] == "https://api.openai.com/v1"
    assert small["ANTHROPIC_BASE_URL"]["value"] == "https://api.anthropic.com"
    secrets = [env["valueFrom"]["secretKeyRef"] for env in (large["OPENAI_API_KEY"], small["ANTHROPIC_API_KEY"])]
    assert secrets == [{"name": "tandem-llm", "key": "api-key"}, {"name": "tandem-slm", "key": "api-key"}]
    assert "ANTHROPIC_API_KEY" not in large
    assert "OPENAI_API_KEY" not in small


def test_no_other_pod_has_a_key_of_an_endpoint() -> None:
    for name, spec in pod_specs(render("hosted")).items():
        text = str(spec)
        assert ("tandem-llm" in text) == name.endswith("/t-tandem-insight-generator"), name
        assert ("'tandem-slm'" in text) == name.endswith("/t-tandem-slm-executor"), name


def test_a_key_is_in_the_variable_that_the_profile_names() -> None:
    specs = pod_specs(render("hosted", "insightGenerator.api.keyVariable=OPENROUTER_API_KEY"))
    large = variables(specs["Deployment/t-tandem-insight-generator"])
    assert large["OPENROUTER_API_KEY"]["valueFrom"]["secretKeyRef"]["name"] == "tandem-llm"
    assert "OPENAI_API_KEY" not in large


def test_an_engine_of_the_responses_protocol_has_the_address_and_key_of_openais_sdk() -> None:
    large = variables(
        pod_specs(render("hosted", "insightGenerator.engine=responses"))[f"Deployment/t-tandem-{ROLES[0]}"]
    )
    assert {"OPENAI_BASE_URL", "OPENAI_API_KEY"} <= large.keys()


def test_policies_open_the_endpoints_and_nothing_else() -> None:
    hosted, inside = render("hosted"), render("in-cluster")
    vendors = [{"ipBlock": {"cidr": "203.0.113.0/24"}}]
    assert [open_ports(hosted, role) for role in ROLES] == [{6379: "anywhere", 443: vendors}] * 2
    [[large], [small]] = ([to for port, to in open_ports(inside, role).items() if port != 6379] for role in ROLES)
    assert large == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "llm-d"}}}]
    assert small[0]["podSelector"] == {"matchLabels": {"app": "qwen-nim"}}
    assert {80, 6379} == open_ports(inside, "insight-generator").keys()
    assert {8000, 6379} == open_ports(inside, "slm-executor").keys()
    for component in ("worker", "http-gateway"):
        assert not {443, 80, 8000} & open_ports(hosted, component).keys(), component
        assert not {443, 80, 8000} & open_ports(inside, component).keys(), component


def test_without_a_place_any_address_is_open_on_the_endpoints_port_alone() -> None:
    objects = render("hosted", "slmExecutor.api.to=null")
    assert open_ports(objects, "slm-executor")[443] == "anywhere"


def test_the_worker_may_not_call_a_scorer_that_is_not_there() -> None:
    rules = named(render("hosted"), "NetworkPolicy", "worker")["spec"]["egress"]
    assert "sufficiency-scorer" not in str(rules)
    assert "slm-executor" in str(rules)


def test_an_engine_that_is_an_api_needs_an_address() -> None:
    assert "slmExecutor.api.baseUrl is needed for engine anthropic" in refusal("hosted", "slmExecutor.api.baseUrl=")


def test_the_large_model_is_a_pool_of_others_in_one_pod_without_a_gpu() -> None:
    objects = render("llm-d")
    spec = pod_specs(objects)["Deployment/t-tandem-insight-generator"]
    assert variables(spec)["OPENAI_BASE_URL"]["value"] == "http://infra-inference-scheduling-inference-gateway.llm-d/v1"
    assert variables(spec)["TANDEM_MAX_BATCH"]["value"] == "64"
    assert "initContainers" not in spec  # no weights
    assert "nvidia.com/gpu" not in spec["containers"][0]["resources"]["limits"]
    [to] = open_ports(objects, "insight-generator")[80]
    assert to["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "llm-d"}


def test_beside_such_a_pool_the_small_model_scores_and_answers_on_gpus_of_its_own() -> None:
    specs = pod_specs(render("llm-d"))
    for role in ("sufficiency-scorer", "slm-executor"):
        limits = specs[f"Deployment/t-tandem-{role}"]["containers"][0]["resources"]["limits"]
        assert limits["nvidia.com/gpu"] == 1
