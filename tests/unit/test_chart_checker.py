"""The answer checker's pods as they render: they run code that a model wrote, so they hold nothing and reach
nothing.
"""

from __future__ import annotations

import pytest

from tests.chart import CHECKER, CI, named, needs_helm, pod_specs, refusal, render


@needs_helm
@pytest.mark.parametrize("values", CI)
def test_no_connection_leaves_the_process_that_runs_code_of_a_model(values: str) -> None:
    objects = render(values)
    policy = named(objects, "NetworkPolicy", CHECKER)["spec"]
    assert "Egress" in policy["policyTypes"]
    assert policy["egress"] == []
    pod = named(objects, "Deployment", CHECKER)["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= pod.items()


@needs_helm
@pytest.mark.parametrize("values", CI)
def test_the_checker_holds_nothing_that_its_code_could_take(values: str) -> None:
    objects = render(values)
    spec = pod_specs(objects)[f"Deployment/t-tandem-{CHECKER}"]
    [container] = spec["containers"]
    allowed = {"HOME", "TANDEM_HOST", "TANDEM_PORT", "TANDEM_METRICS_PORT", "TANDEM_DRAIN", "TANDEM_UNREADY_PAUSE"}
    limits = {"TANDEM_CHECKER_CONCURRENCY", "TANDEM_CHECKER_ALLOW_WEAK_SANDBOX"}
    # Its own certificate, which no process accepts calls from.
    tls = {"TANDEM_TLS_CERT", "TANDEM_TLS_KEY", "TANDEM_TLS_CA", "TANDEM_TLS_TRUST_DOMAIN", "TANDEM_HEALTH_PORT"}
    logs = {"TANDEM_LOG_FORMAT", "TANDEM_LOG_LEVEL"}  # where the values name another than text and INFO
    assert {variable["name"] for variable in container["env"]} - tls - logs == allowed | limits
    assert all("valueFrom" not in variable for variable in container["env"])
    assert "envFrom" not in container
    assert "hostAliases" not in spec
    assert "initContainers" not in spec
    [scratch] = [volume for volume in spec["volumes"] if volume["name"] != "tls"]
    assert scratch["emptyDir"] == {"medium": "Memory", "sizeLimit": "256Mi"}
    assert container["resources"]["limits"].keys() == {"cpu", "memory"}


@needs_helm
@pytest.mark.parametrize("values", [each for each in CI if each != "openshift"])  # there the platform gives the users
def test_the_checkers_user_is_nobody_elses(values: str) -> None:
    users = {name: spec["securityContext"]["runAsUser"] for name, spec in pod_specs(render(values)).items()}
    own = users.pop(f"Deployment/t-tandem-{CHECKER}")
    assert own not in users.values()


@needs_helm
def test_environment_that_the_defaults_name_is_not_the_checkers() -> None:
    sets = ("defaults.extraEnv[0].name=HTTPS_PROXY", "defaults.extraEnv[0].value=http://me:secret@proxy")
    specs = pod_specs(render("hardened", *sets))
    assert "me:secret@proxy" in str(specs["Deployment/t-tandem-gateway"])
    assert "me:secret@proxy" not in str(specs[f"Deployment/t-tandem-{CHECKER}"])


@needs_helm
def test_the_checker_runs_on_the_kernel_that_the_values_name_and_scales_by_its_load() -> None:
    spec = pod_specs(render("hardened"))[f"Deployment/t-tandem-{CHECKER}"]
    assert spec["runtimeClassName"] == "gvisor"
    objects = render("gpu")
    scaler = named(objects, "HorizontalPodAutoscaler", CHECKER)["spec"]
    assert [(m["type"], m["resource"]["name"]) for m in scaler["metrics"]] == [("Resource", "cpu")]
    assert "replicas" not in named(objects, "Deployment", CHECKER)["spec"]
    assert "autoscaling/kind': value must be 'hpa'" in refusal("gpu", "answerChecker.autoscaling.kind=keda")
