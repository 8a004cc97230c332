"""Network policies as the chart renders them: the ports of what a pod calls, and those of Jobs and of the test."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chart import COMPONENTS, named, needs_helm, pod_specs, refusal, render

pytestmark = needs_helm
ISOLATED = ("networkPolicy.enabled=true",)


def egress(objects: list[dict[str, Any]], component: str) -> set[tuple[str, int]]:
    policy = named(objects, "NetworkPolicy", component)["spec"]
    return {(port["protocol"], port["port"]) for rule in policy["egress"] for port in rule["ports"]}


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("rediss://user:1234@redis.data:6380/0", 6380),
        ("rediss://redis.data:6380?ssl_cert_reqs=none", 6380),
        ("redis://redis.data/0", 6379),
    ],
)
def test_redis_is_reached_at_the_port_of_its_url(url: str, port: int) -> None:
    found = egress(render("hardened", f"redis.url={url}"), "sufficiency-scorer")
    assert found & {("TCP", 6379), ("TCP", 6380), ("TCP", 1234)} == {("TCP", port)}


def test_the_port_of_a_url_in_a_secret_must_be_said() -> None:
    secret = ("redis.url=", "redis.existingSecret=tandem-redis")
    assert "needs redis.ports, such as [6380]" in refusal("hardened", *secret)
    assert ("TCP", 6380) in egress(render("hardened", *secret, "redis.ports={6380}"), "worker")
    render("gpu", *secret)  # without policies nobody needs to know it


def test_names_are_resolved_by_udp_and_tcp_also_where_dns_pods_listen_on_5353() -> None:
    dns = {(protocol, port) for protocol in ("UDP", "TCP") for port in (53, 5353)}
    objects = render("hardened")
    for component in {*COMPONENTS, "setup", "test"} - {"answer-checker"}:
        assert dns <= egress(objects, component), component


@pytest.mark.parametrize("values", ["ipv6", "hardened"])  # without and with scrapers
def test_whom_nobody_may_call_has_an_empty_list_of_callers(values: str) -> None:
    for policy in (o["spec"] for o in render(values) if o["kind"] == "NetworkPolicy"):
        assert isinstance(policy["ingress"], list)


def test_jobs_and_the_test_have_policies_of_their_own() -> None:
    objects = render(
        "gpu", *ISOLATED, "networkPolicy.extraPorts={3128}", "test.jaeger=http://jaeger.observability:16686"
    )
    assert {port for _, port in egress(objects, "setup")} == {53, 5353, 7233, 3128}
    assert {port for _, port in egress(objects, "pull")} == {53, 5353, 443, 3128}
    assert {port for _, port in egress(objects, "test")} == {53, 5353, 50051, 16686, 3128}
    labels = {
        name: each["metadata"]["labels"]
        for each in objects
        if "template" in (each.get("spec") or {})
        for name, each in [(each["metadata"]["name"], each["spec"]["template"])]
    }
    for job in ("setup", "pull"):
        selector = named(objects, "NetworkPolicy", job)["spec"]["podSelector"]["matchLabels"]
        assert any(selector.items() <= found.items() for found in labels.values()), job
        assert named(objects, "NetworkPolicy", job)["spec"]["ingress"] == []
    assert not [o for o in render("gpu") if o["metadata"]["name"] == "t-tandem-setup" and o["kind"] == "NetworkPolicy"]


def test_extra_ports_may_be_of_udp_and_ranges() -> None:
    sets = (
        *ISOLATED,
        "networkPolicy.extraPorts[0]=3128",
        "networkPolicy.extraPorts[1].port=8125",
        "networkPolicy.extraPorts[1].protocol=UDP",
        "networkPolicy.extraPorts[2].port=9000",
        "networkPolicy.extraPorts[2].endPort=9010",
    )
    objects = render("gpu", *sets)
    assert {("TCP", 3128), ("UDP", 8125), ("TCP", 9000)} <= egress(objects, "worker")
    ports = [p for rule in named(objects, "NetworkPolicy", "pull")["spec"]["egress"] for p in rule["ports"]]
    assert {"protocol": "TCP", "port": 9000, "endPort": 9010} in ports


def test_a_route_does_not_speak_clear_text_to_a_gateway_that_speaks_tls() -> None:
    route = ("expose.kind=Gateway", "expose.parentRefs[0].name=edge", "expose.grpc.hosts={a.example.org}")
    assert "Set tls.caConfigMap" in refusal("tls", *route, "tls.caConfigMap=")
    objects = render("tls", *route)
    [policy] = [o["spec"] for o in objects if o["kind"] == "BackendTLSPolicy"]
    assert policy["targetRefs"] == [{"group": "", "kind": "Service", "name": "t-tandem-gateway"}]
    assert policy["validation"]["caCertificateRefs"] == [
        {"group": "", "kind": "ConfigMap", "name": "tandem-authorities"}
    ]
    assert policy["validation"]["hostname"] in named(objects, "Certificate", "gateway")["spec"]["dnsNames"]
    assert not [o for o in render("tls", *route, "tls.public=false") if o["kind"] == "BackendTLSPolicy"]


def test_neither_does_an_ingress() -> None:
    def protocol(*sets: str) -> str:
        exposed = ("expose.kind=Ingress", "expose.grpc.hosts={a.example.org}", *sets)
        [ingress] = [o for o in render("tls", *exposed) if o["kind"] == "Ingress"]
        return str(ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/backend-protocol"])

    assert protocol() == "GRPCS"
    assert protocol("tls.public=false") == "GRPC"
    own = r"expose.grpc.annotations.nginx\.ingress\.kubernetes\.io/backend-protocol"
    assert protocol(f"{own}=AUTO_HTTP") == "AUTO_HTTP"


def test_every_pod_of_a_release_with_policies_has_one() -> None:
    for values in ("gpu", "profiles", "hardened"):
        objects = render(values, *ISOLATED)
        selected = [o["spec"]["podSelector"]["matchLabels"] for o in objects if o["kind"] == "NetworkPolicy"]
        for each in objects:
            found = (each.get("spec") or {}).get("template", each)["metadata"].get("labels", {})
            if f"{each['kind']}/{each['metadata']['name']}" in pod_specs(objects):
                assert any(s.items() <= found.items() for s in selected), each["metadata"]["name"]
