"""How the chart's pods enter Redis: by a user of their own, with certificates, behind Sentinels or in a cluster."""

from __future__ import annotations

from typing import Any

import pytest

from tandem.access.redis_users import USERS
from tests.chart import CHECKER, COMPONENTS, EDGE, named, needs_helm, pod_specs, refusal, render

pytestmark = needs_helm
CONNECTED = tuple(user.process for user in USERS)
SECRETS = (
    "redis.usersSecret=passwords", "redis.tls.existingSecret=certificates", "redis.tls.client=true",
    "redis.sentinel.existingSecret=sentinels", "redis.sentinel.username=watcher",
)  # fmt: skip


def variables(spec: dict[str, Any]) -> dict[str, Any]:
    return {e["name"]: e.get("value", e.get("valueFrom")) for e in spec["containers"][0].get("env", [])}


def test_each_pod_has_the_password_of_its_own_user_alone() -> None:
    specs = pod_specs(render("gpu", *SECRETS))
    for component in COMPONENTS:
        spec = specs[f"Deployment/t-tandem-{component}"]
        found = {volume["name"]: volume for volume in spec["volumes"]}
        if component in (CHECKER, EDGE):
            assert not {name for name in variables(spec) if name.startswith("REDIS_")}, component
            assert not {"redis-password", "redis-tls"} & set(found), component
            continue
        assert variables(spec)["REDIS_USERNAME"] == f"tandem-{component}"
        assert variables(spec)["REDIS_PASSWORD_FILE"] == "/etc/tandem/redis/password"
        assert found["redis-password"]["secret"] == {
            "secretName": "passwords", "items": [{"key": component, "path": "password"}]
        }  # fmt: skip
        mounts = {mount["name"]: mount for mount in spec["containers"][0]["volumeMounts"]}
        assert mounts["redis-password"]["mountPath"] == "/etc/tandem/redis"
        assert "subPath" not in mounts["redis-password"]  # a changed password reaches the pod
    assert set(CONNECTED) == set(COMPONENTS) - {CHECKER, EDGE}


def test_certificates_and_the_sentinels_login_are_what_the_process_reads() -> None:
    for name, spec in pod_specs(render("gpu", *SECRETS)).items():
        if name.removeprefix("Deployment/t-tandem-") in CONNECTED or name == "Job/t-tandem-setup":
            read = variables(spec)
            assert read["REDIS_CA_FILE"] == "/etc/tandem/redis-tls/ca.crt", name
            assert (read["REDIS_CERT_FILE"], read["REDIS_KEY_FILE"]) == (
                "/etc/tandem/redis-tls/tls.crt", "/etc/tandem/redis-tls/tls.key",
            )  # fmt: skip
            assert read["REDIS_SENTINEL_USERNAME"] == "watcher"
            assert read["REDIS_SENTINEL_PASSWORD"]["secretKeyRef"] == {"name": "sentinels", "key": "password"}
    only_authority = variables(
        pod_specs(render("gpu", "redis.tls.existingSecret=certificates"))["Deployment/t-tandem-worker"]
    )
    assert "REDIS_CA_FILE" in only_authority
    assert "REDIS_CERT_FILE" not in only_authority


def test_every_mounted_volume_of_a_pod_exists() -> None:
    for values in ("gpu", "kserve", "hardened"):
        for name, spec in pod_specs(render(values, *SECRETS)).items():
            mounted = {m["name"] for c in spec["containers"] for m in c.get("volumeMounts", [])}
            assert mounted <= {volume["name"] for volume in spec.get("volumes", [])}, name


@pytest.mark.parametrize(
    ("given", "ports"),
    [
        (r"redis.url=redis+sentinel://a:26379\,b:26380/main", {6379, 26379, 26380}),
        (r"redis.url=rediss+cluster://me:s3@a:7000\,b:7001", {7000, 7001}),
        ("redis.url=redis://redis.data", {6379}),
        ("redis.ports={6379,26379}", {6379, 26379}),
    ],
)
def test_the_network_policies_allow_every_port_that_redis_has(given: str, ports: set[int]) -> None:
    [egress] = [
        {port["port"] for port in rule["ports"]}
        for rule in named(render("hardened", given), "NetworkPolicy", "sufficiency-scorer")["spec"]["egress"]
        if not {443, 53} & {port["port"] for port in rule["ports"]}
    ]
    assert egress == ports


def test_without_these_values_nothing_but_the_url_is_set() -> None:
    spec = pod_specs(render("gpu"))["Deployment/t-tandem-gateway"]
    assert {name for name in variables(spec) if name.startswith("REDIS_")} == {"REDIS_URL"}


PARTS = (
    "redis.url=rediss://cache.example.com:6390/2", "redis.username=tandem", "redis.passwordSecret=tandem-cache",
    "redis.passwordSecretKey=auth",
)  # fmt: skip


def test_a_user_and_a_password_from_a_secret_come_beside_a_url() -> None:
    for name, spec in pod_specs(render("gpu", *PARTS)).items():
        if name.removeprefix("Deployment/t-tandem-") not in CONNECTED and name != "Job/t-tandem-setup":
            continue
        read = variables(spec)
        assert read["REDIS_URL"] == "rediss://cache.example.com:6390/2", name
        assert (read["REDIS_USERNAME"], read["REDIS_PASSWORD_FILE"]) == ("tandem", "/etc/tandem/redis/password"), name
        [volume] = [volume["secret"] for volume in spec["volumes"] if volume["name"] == "redis-password"]
        assert volume == {"secretName": "tandem-cache", "items": [{"key": "auth", "path": "password"}]}, name
    assert "exclude each other" in refusal("gpu", "redis.passwordSecret=a", "redis.usersSecret=b")


def test_the_pods_of_every_pair_are_the_user_of_their_process() -> None:
    specs = pod_specs(render("profiles", *SECRETS))
    for name, process in (
        ("Deployment/t-tandem-worker-support", "worker"),
        ("Job/t-tandem-setup-support", "worker"),
        ("Deployment/t-tandem-insight-generator-support", "insight-generator"),
    ):
        assert variables(specs[name])["REDIS_USERNAME"] == f"tandem-{process}", name
        [secret] = [volume["secret"] for volume in specs[name]["volumes"] if volume["name"] == "redis-password"]
        assert secret["items"] == [{"key": process, "path": "password"}], name
