"""The HTTP gateway's pods as they render: a client of the gateway, with nothing else to reach and nothing to hold."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chart import CI, EDGE, named, needs_helm, pod_specs, refusal, render


def ports_out(objects: list[dict[str, Any]]) -> dict[int, set[str]]:
    """Each port that it may call, and the components that are there; none: any address."""
    found: dict[int, set[str]] = {}
    for rule in named(objects, "NetworkPolicy", EDGE)["spec"]["egress"]:
        names = {to["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for to in rule.get("to", [])}
        found |= {port["port"]: names for port in rule["ports"]}
    return found


@needs_helm
@pytest.mark.parametrize("values", CI)
def test_it_holds_no_profile_no_model_and_no_secret(values: str) -> None:
    spec = pod_specs(render(values))[f"Deployment/t-tandem-{EDGE}"]
    [container] = spec["containers"]
    assert container["args"] == ["python", "-m", "services.http_gateway"]
    variables = {variable["name"]: variable for variable in container["env"]}
    port = 50056 if "TANDEM_TLS_CERT" in variables else 50051
    assert variables["TANDEM_GATEWAY"]["value"] == f"dns:///t-tandem-gateway-pods.ns.svc:{port}"
    assert not {"REDIS_URL", "TEMPORAL_ADDRESS", "TANDEM_PROFILE", "TANDEM_MODELS"} & variables.keys()
    assert not [v for v in variables.values() if "secretKeyRef" in v.get("valueFrom", {})]
    assert {volume["name"] for volume in spec["volumes"]} - {"tls"} == {"tmp"}
    assert "initContainers" not in spec


@needs_helm
def test_it_is_probed_and_reached_by_http() -> None:
    objects = render("gpu")
    [container] = pod_specs(objects)[f"Deployment/t-tandem-{EDGE}"]["containers"]
    paths = [container[probe]["httpGet"]["path"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")]
    assert paths == ["/readyz", "/readyz", "/healthz"]
    assert (container["ports"][0]["name"], container["ports"][0]["containerPort"]) == ("http", 8080)
    [port] = named(objects, "Service", EDGE)["spec"]["ports"]
    assert (port["name"], port["port"], port["targetPort"], port["appProtocol"]) == ("http", 8080, "http", "http")


@needs_helm
def test_it_may_call_the_gateway_and_the_collector_alone() -> None:
    assert ports_out(render("hardened")) == {53: set(), 5353: set(), 50051: {"gateway"}}
    with_collector = ports_out(render("gpu", "networkPolicy.enabled=true"))
    assert with_collector == {53: set(), 5353: set(), 50051: {"gateway"}, 4317: set()}


@needs_helm
def test_the_clients_that_the_values_name_may_call_it_and_it_may_call_the_gateway() -> None:
    objects = render("hardened")
    sources = [
        [source for rule in named(objects, "NetworkPolicy", component)["spec"]["ingress"] for source in rule["from"]]
        for component in (EDGE, "gateway")
    ]
    clients = {"namespaceSelector": {"matchLabels": {"tandem.dev/client": "true"}}}
    assert all(clients in each for each in sources)
    of_pods = [
        [s["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for s in each if "podSelector" in s]
        for each in sources
    ]
    assert (of_pods[0], EDGE in of_pods[1]) == (["test"], True)


@needs_helm
def test_ingress_and_route_lead_to_it_with_tls() -> None:
    hosts = ("expose.http.hosts[0]=ai.example.org",)
    objects = render(
        "gpu", "expose.kind=Ingress", "expose.className=nginx", "expose.http.tlsSecret=ai-tls", *hosts
    )  # fmt: skip
    [ingress] = [o["spec"] for o in objects if o["kind"] == "Ingress"]
    assert ingress["ingressClassName"] == "nginx"
    assert ingress["tls"] == [{"secretName": "ai-tls", "hosts": ["ai.example.org"]}]
    [path] = ingress["rules"][0]["http"]["paths"]
    assert path["backend"]["service"] == {"name": f"t-tandem-{EDGE}", "port": {"number": 8080}}
    objects = render("gpu", "expose.kind=Gateway", "expose.parentRefs[0].name=edge", *hosts)
    [route] = [o["spec"] for o in objects if o["kind"] == "HTTPRoute"]
    assert (route["parentRefs"], route["hostnames"]) == ([{"name": "edge"}], ["ai.example.org"])
    assert route["rules"][0]["timeouts"] == {"request": "900s"}
    assert route["rules"][0]["backendRefs"] == [{"name": f"t-tandem-{EDGE}", "port": 8080}]
    assert not [o for o in render("gpu") if o["kind"] in ("Ingress", "HTTPRoute")]


@needs_helm
def test_it_scales_by_its_load() -> None:
    objects = render("gpu", "httpGateway.autoscaling.enabled=true")
    scaler = named(objects, "HorizontalPodAutoscaler", EDGE)["spec"]
    assert [(m["type"], m["resource"]["name"]) for m in scaler["metrics"]] == [("Resource", "cpu")]
    assert "autoscaling/kind': value must be 'hpa'" in refusal("gpu", "httpGateway.autoscaling.kind=keda")


@needs_helm
def test_it_answers_to_the_names_of_its_services_and_routes() -> None:
    more = ("expose.kind=Ingress", "expose.http.hosts={a.example.com}", "httpGateway.allowedHosts={b.example.com}")
    [container] = pod_specs(render("minimal", *more))[f"Deployment/t-tandem-{EDGE}"]["containers"]
    variables = {variable["name"]: variable.get("value", "") for variable in container["env"]}
    assert variables["TANDEM_ALLOW_ANONYMOUS"] == "true"
    names = variables["TANDEM_ALLOWED_HOSTS"].split(",")
    assert {"a.example.com", "b.example.com", f"t-tandem-{EDGE}", f"t-tandem-{EDGE}.ns.svc.cluster.local"} <= set(names)
    assert not {"TANDEM_ALLOWED_ORIGINS", "FORWARDED_ALLOW_IPS"} & variables.keys()


@needs_helm
def test_other_origins_and_proxies_are_named_by_the_values() -> None:
    more = ("httpGateway.allowedOrigins={https://app.example.com}", "httpGateway.trustedProxies={10.0.0.0/8}")
    [container] = pod_specs(render("minimal", *more))[f"Deployment/t-tandem-{EDGE}"]["containers"]
    variables = {variable["name"]: variable.get("value", "") for variable in container["env"]}
    assert variables["TANDEM_ALLOWED_ORIGINS"] == "https://app.example.com"
    assert variables["FORWARDED_ALLOW_IPS"] == "10.0.0.0/8"


@needs_helm
def test_spans_leave_by_http_with_headers_of_a_secret_to_the_port_of_the_address() -> None:
    sets = ("otel.endpoint=https://langfuse.example.com/api/public/otel", "otel.protocol=http/protobuf")
    objects = render("gpu", *sets, "otel.headersSecret=langfuse", "networkPolicy.enabled=true")
    assert ports_out(objects) == {53: set(), 5353: set(), 50051: {"gateway"}, 443: set()}
    for name, spec in pod_specs(objects).items():
        if name.startswith("Deployment/"):
            variables = {v["name"]: v for v in spec["containers"][0]["env"] if v["name"].startswith("OTEL_EXPORTER")}
            if name.endswith("answer-checker"):  # it has no address and no secret
                assert not variables
                continue
            assert variables["OTEL_EXPORTER_OTLP_PROTOCOL"]["value"] == "http/protobuf", name
            secret = variables["OTEL_EXPORTER_OTLP_HEADERS"]["valueFrom"]["secretKeyRef"]
            assert secret == {"name": "langfuse", "key": "headers"}, name
