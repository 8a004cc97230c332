"""Several pairs in one release: the first keeps its names, each has its own pods but for those that it shares."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chart import COMPONENTS, named, needs_helm, pod_specs, refusal, render

FIRST = "qwen2.5-coder-1.5b-0.5b"
OWN = ("worker", "insight-generator", "sufficiency-scorer")


def variables(objects: list[dict[str, Any]], component: str) -> dict[str, str]:
    [container] = pod_specs(objects)[f"Deployment/t-tandem-{component}"]["containers"]
    return {variable["name"]: variable.get("value", "") for variable in container["env"]}


@needs_helm
def test_a_second_pair_changes_nothing_of_the_first_ones_pods_but_what_both_use() -> None:
    one, two = (
        {o["metadata"]["name"]: o["spec"] for o in render("profiles", *sets) if o["kind"] == "Deployment"}
        for sets in (("profiles=null",), ())
    )
    assert set(one) == {f"t-tandem-{component}" for component in COMPONENTS}
    assert set(two) - set(one) == {f"t-tandem-{component}-support" for component in OWN}
    assert {name for name in one if one[name] != two[name]} == {"t-tandem-gateway", "t-tandem-slm-executor"}


@needs_helm
def test_the_gateways_serve_all_pairs_and_the_first_is_their_default() -> None:
    objects = render("profiles")
    assert variables(objects, "gateway")["TANDEM_PROFILES"] == f"{FIRST},support"
    spec = pod_specs(objects)["Deployment/t-tandem-gateway"]
    mounts = {m["mountPath"]: m["name"] for m in spec["containers"][0]["volumeMounts"]}
    assert mounts["/etc/tandem/profiles/support"] == "profile-support"
    assert mounts[f"/etc/tandem/profiles/{FIRST}"] == "profile"
    assert spec["initContainers"][0]["args"][-4:] == ["--profile", FIRST, "--profile", "support"]


@needs_helm
def test_the_first_pair_can_be_taken_out_too_and_is_no_default_then() -> None:
    gateway = variables(render("profiles", "profile.withdrawn=true"), "gateway")
    assert gateway["TANDEM_PROFILES"] == f"support,{FIRST}"
    assert gateway["TANDEM_WITHDRAWN_PROFILES"] == FIRST


@needs_helm
def test_each_worker_has_its_own_queues_deployment_and_addresses() -> None:
    objects = render("profiles")
    first, second = variables(objects, "worker"), variables(objects, "worker-support")
    assert (first["TANDEM_PROFILE"], second["TANDEM_PROFILE"]) == (FIRST, "support")
    assert (first["TANDEM_DEPLOYMENT"], second["TANDEM_DEPLOYMENT"]) == ("t-tandem", "t-tandem-support")
    assert (first["TANDEM_MAX_LLM"], second["TANDEM_MAX_LLM"]) == ("16", "8")
    services = {o["metadata"]["name"]: o["spec"]["selector"] for o in objects if o["kind"] == "Service"}
    labels = {
        o["metadata"]["name"]: o["spec"]["template"]["metadata"]["labels"] for o in objects if o["kind"] == "Deployment"
    }
    for worker in (first, second):
        for variable in (
            "TANDEM_INSIGHT_GENERATOR",
            "TANDEM_SUFFICIENCY_SCORER",
            "TANDEM_SLM_EXECUTOR",
            "TANDEM_ANSWER_CHECKER",
        ):
            service = worker[variable].removeprefix("dns:///").partition(".")[0]
            assert [n for n, own in labels.items() if services[service].items() <= own.items()] == [service[:-5]]
    jobs = [o["metadata"]["name"] for o in objects if o["kind"] == "Job" and "setup" in o["metadata"]["name"]]
    assert jobs == ["t-tandem-setup", "t-tandem-setup-support"]


@needs_helm
def test_a_model_that_two_pairs_have_in_common_runs_once_and_knows_both() -> None:
    objects = render("profiles")
    assert "Deployment/t-tandem-slm-executor-support" not in pod_specs(objects)
    shared = variables(objects, "slm-executor")
    assert shared["TANDEM_PROFILES"] == f"{FIRST},support"
    assert "TANDEM_PROFILE" not in shared
    policy = named(objects, "NetworkPolicy", "slm-executor")["spec"]["ingress"][0]["from"]
    callers = [source["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for source in policy]
    assert callers == ["worker", "worker-support"]
    alone = named(objects, "NetworkPolicy", "insight-generator-support")["spec"]["ingress"][0]["from"]
    assert [s["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for s in alone] == ["worker-support"]


@needs_helm
def test_a_pairs_pods_have_the_components_values_and_its_own_above_them() -> None:
    spec = pod_specs(render("profiles"))["Deployment/t-tandem-insight-generator-support"]
    assert spec["nodeSelector"] == {"tandem.dev/pool": "big"}
    [container] = spec["containers"]
    assert container["image"].endswith("-vllm")
    assert container["resources"]["requests"] == {"cpu": "2", "memory": "8Gi"}  # insightGenerator's
    objects = render("profiles")
    assert named(objects, "Deployment", "worker-support")["spec"]["replicas"] == 3
    assert named(objects, "Deployment", "worker")["spec"]["replicas"] == 2


@needs_helm
@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("profiles[0].slmExecutor.sharedWith=nobody", "sharedWith: nobody is no profile of this release"),
        ("profiles[0].name=qwen2.5-coder-1.5b-0.5b", "is there twice"),
        ("profiles[0].key=Support", "key"),
        ("profiles[0].gateway.replicaCount=2", "'gateway' not allowed"),
        ("profiles[0].worker.sharedWith=x", "'sharedWith' not allowed"),
        ("profiles[0].insightGenerator.pool=none", "there is no pool none in `pools`"),
    ],
)
def test_a_pair_that_could_not_run_is_refused(option: str, message: str) -> None:
    assert message in refusal("profiles", option)


@needs_helm
def test_long_names_are_cut_to_what_a_service_may_have() -> None:
    objects = render(
        "profiles", "profiles[0].name=Some_Very.Long-name-of-a-profile-indeed", "fullnameOverride=" + "x" * 40
    )
    names = [o["metadata"]["name"] for o in objects if o["kind"] in ("Service", "Deployment", "Job")]
    assert max(map(len, names)) <= 63
    assert len({(o["kind"], o["metadata"]["name"]) for o in objects}) == len(objects)
    assert any("some-very-long-n" in name for name in names)


@needs_helm
def test_two_releases_whose_names_are_cut_have_no_object_in_common() -> None:
    names = [
        {
            (o["kind"], o["metadata"]["name"])
            for o in render(
                "profiles",
                f"fullnameOverride=tandem-production-blue-{place}",
                "profiles[0].key=customer-support",
                "serving.mode=kserve",
            )
        }
        for place in ("eu", "us")
    ]
    assert not names[0] & names[1]
