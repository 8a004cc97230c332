"""The file store of batches as the chart renders it: for gateway and worker alone, a claim or a URL."""

from __future__ import annotations

from typing import Any

from tests.chart import CHART, CI, COMPONENTS, helm, named, needs_helm, pod_specs, render

USERS = {"gateway", "worker"}


def variables(spec: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable.get("value", "") for variable in spec["containers"][0]["env"]}


def with_store(*sets: str) -> dict[str, dict[str, Any]]:
    specs = pod_specs(render("gpu", *sets))
    return {name: specs[f"Deployment/t-tandem-{name}"] for name in COMPONENTS}


@needs_helm
def test_without_a_store_nobody_has_one() -> None:
    for values in CI:
        if "fileStore:" in (CHART / "ci" / f"{values}-values.yaml").read_text():
            continue
        assert not [spec for spec in pod_specs(render(values)).values() if "TANDEM_FILES" in str(spec)]


@needs_helm
def test_gateway_and_worker_alone_mount_the_claim() -> None:
    specs = with_store("fileStore.existingClaim=batches")
    assert {name for name, spec in specs.items() if "TANDEM_FILES" in variables(spec)} == USERS
    for name in USERS:
        assert variables(specs[name])["TANDEM_FILES"] == "/files"
        assert {"name": "files", "persistentVolumeClaim": {"claimName": "batches"}} in specs[name]["volumes"]
        assert {"name": "files", "mountPath": "/files"} in specs[name]["containers"][0]["volumeMounts"]


@needs_helm
def test_the_setup_job_has_a_volume_for_each_of_its_mounts() -> None:
    job = pod_specs(render("gpu", "fileStore.existingClaim=batches"))["Job/t-tandem-setup"]
    mounts = {mount["name"] for mount in job["containers"][0]["volumeMounts"]}
    assert mounts == {volume["name"] for volume in job["volumes"]}


@needs_helm
def test_a_url_comes_with_its_credentials_and_its_port() -> None:
    sets = (
        "fileStore.url=s3://bucket/tandem",
        "fileStore.existingSecret=s3",
        "fileStore.port=9000",
        "networkPolicy.enabled=true",
    )
    specs = with_store(*sets)
    for name, spec in specs.items():
        [container] = spec["containers"]
        assert ("TANDEM_FILES" in variables(spec), "envFrom" in container) == (name in USERS, name in USERS)
    assert variables(specs["worker"])["TANDEM_FILES"] == "s3://bucket/tandem"
    assert specs["worker"]["containers"][0]["envFrom"] == [{"secretRef": {"name": "s3"}}]
    objects = render("gpu", *sets)
    for name in COMPONENTS:
        ports = [
            port["port"] for rule in named(objects, "NetworkPolicy", name)["spec"]["egress"] for port in rule["ports"]
        ]
        assert (9000 in ports) == (name in USERS)


@needs_helm
def test_a_url_and_a_claim_together_are_refused() -> None:
    sets = ["--set", "fileStore.url=s3://a", "--set", "fileStore.existingClaim=b"]
    done = helm("template", "t", str(CHART), "-f", str(CHART / "ci" / "gpu-values.yaml"), *sets)
    assert "exclude each other" in done.stderr
