"""Checks of one's own in the chart, and what of the defaults the built-in checker's pod does not have."""

from __future__ import annotations

from typing import Any

from tests.chart import CHECKER, COMPONENTS, named, needs_helm, pod_specs, refusal, render

pytestmark = needs_helm
OWN = ("checkers.repository_tests=checks.mine:50061", "checkers.sql=10.0.0.7:50062")


def variables(spec: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable.get("value", "") for variable in spec["containers"][0]["env"]}


def test_gateway_and_worker_know_checks_of_ones_own() -> None:
    specs = pod_specs(render("gpu", *OWN))
    told = {name: variables(specs[f"Deployment/t-tandem-{name}"]).get("TANDEM_CHECKERS") for name in COMPONENTS}
    expected = "repository_tests=checks.mine:50061,sql=10.0.0.7:50062"
    assert {name: value for name, value in told.items() if value} == dict.fromkeys(("gateway", "worker"), expected)


def test_workers_alone_may_reach_their_ports() -> None:
    objects = render("gpu", *OWN, "networkPolicy.enabled=true")
    for name in COMPONENTS:
        egress = named(objects, "NetworkPolicy", name)["spec"]["egress"]
        ports = {port["port"] for rule in egress for port in rule.get("ports", ()) if "to" not in rule}
        assert ({50061, 50062} <= ports) == (name == "worker"), name


def test_an_address_without_a_port_is_refused() -> None:
    assert "checkers" in refusal("gpu", "checkers.mine=checks.mine")


def test_containers_and_volumes_of_the_defaults_do_not_reach_code_of_a_model() -> None:
    more = (
        "defaults.extraVolumes[0].name=own", "defaults.extraVolumes[0].secret.secretName=tandem-own",
        "defaults.extraVolumeMounts[0].name=own", "defaults.extraVolumeMounts[0].mountPath=/own",
        "defaults.extraContainers[0].name=beside", "defaults.extraInitContainers[0].name=before",
    )  # fmt: skip
    specs = pod_specs(render("gpu", *more))
    for name in COMPONENTS:
        spec = str(specs[f"Deployment/t-tandem-{name}"])
        assert all((word in spec) == (name != CHECKER) for word in ("/own", "beside", "before")), name
    own = pod_specs(render("gpu", "answerChecker.extraContainers[0].name=beside"))[f"Deployment/t-tandem-{CHECKER}"]
    assert "beside" in str(own)
