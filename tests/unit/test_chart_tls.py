"""Certificates as the chart renders them: one per component, mounted, trusted, and no probe that would need one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chart import CHART, CI, COMPONENTS, EDGE, MODELS, helm, named, needs_helm, pod_specs, render


def volume_of(spec: dict[str, Any]) -> dict[str, Any]:
    """The secret and the config map behind /etc/tandem/tls, each with its files."""
    [volume] = [each for each in spec["volumes"] if each["name"] == "tls"]
    found = {}
    for source in volume["projected"]["sources"]:
        for kind, one in source.items():
            found[kind] = (one["name"], {item["path"] for item in one["items"]})
    return found


@needs_helm
def test_each_component_has_a_certificate_with_its_name_and_address() -> None:
    objects = render("tls", "tls.existingSecrets.answerChecker=", "tls.caConfigMap=")
    for component in COMPONENTS:
        spec = named(objects, "Certificate", component)["spec"]
        assert spec["uris"] == [f"spiffe://tandem.example.com/{component}"]
        assert f"t-tandem-{component}-pods.ns.svc" in spec["dnsNames"]
        assert {"server auth", "client auth"} <= set(spec["usages"])
        assert spec["issuerRef"]["name"] == "tandem-internal"
        pod = pod_specs(objects)[f"Deployment/t-tandem-{component}"]
        assert volume_of(pod) == {"secret": (spec["secretName"], {"tls.crt", "tls.key", "ca.crt"})}
        [container] = pod["containers"]
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        variables = {variable["name"]: variable.get("value") for variable in container["env"]}
        assert variables["TANDEM_TLS_KEY"] == f"{mounts['tls']}/tls.key"
        assert variables["TANDEM_TLS_TRUST_DOMAIN"] == "tandem.example.com"
    assert "tandem.example.com" in named(objects, "Certificate", "gateway")["spec"]["dnsNames"]


@needs_helm
def test_a_given_secret_replaces_the_certificate_and_a_bundle_the_secrets_authority() -> None:
    objects = render("tls")
    certificates = {each["metadata"]["name"] for each in objects if each["kind"] == "Certificate"}
    assert certificates == {f"t-tandem-{name}" for name in COMPONENTS if name != "answer-checker"}
    assert volume_of(pod_specs(objects)["Deployment/t-tandem-answer-checker"]) == {
        "secret": ("tandem-checker-tls", {"tls.crt", "tls.key"}),
        "configMap": ("tandem-authorities", {"ca.crt"}),
    }


@needs_helm
def test_a_component_without_a_certificate_is_named() -> None:
    words = ("template", "t", str(CHART), "-f", str(CHART / "ci/tls-values.yaml"))
    done = helm(*words, "--set", "tls.certManager.issuerRef.name=")
    assert done.returncode != 0
    assert "tls.enabled needs tls.certManager.issuerRef.name or tls.existingSecrets." in done.stderr


@needs_helm
@pytest.mark.parametrize("mode", ["deployment", "kserve"])
def test_probes_ask_a_port_that_needs_no_certificate(mode: str) -> None:
    objects = render("tls", f"serving.mode={mode}")
    for component in set(COMPONENTS) - {EDGE}:
        kind = "InferenceService" if mode == "kserve" and component in MODELS else "Deployment"
        [container] = pod_specs(objects)[f"{kind}/t-tandem-{component}"]["containers"]
        variables = {variable["name"]: variable.get("value") for variable in container["env"]}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert str(container[probe]["grpc"]["port"]) == variables["TANDEM_HEALTH_PORT"]


@needs_helm
def test_the_http_gateway_calls_the_port_that_asks_for_its_certificate() -> None:
    objects = render("tls")
    [gateway] = pod_specs(objects)["Deployment/t-tandem-gateway"]["containers"]
    variables = {variable["name"]: variable.get("value") for variable in gateway["env"]}
    port = int(variables["TANDEM_INTERNAL_PORT"] or 0)
    [edge] = pod_specs(objects)[f"Deployment/t-tandem-{EDGE}"]["containers"]
    [address] = [each["value"] for each in edge["env"] if each["name"] == "TANDEM_GATEWAY"]
    assert address.endswith(f":{port}")
    rules = named(objects, "NetworkPolicy", "gateway")["spec"]["ingress"]
    assert [rule["ports"][0]["port"] for rule in rules if "from" in rule] == [port]


@needs_helm
@pytest.mark.parametrize(("public", "scheme"), [("true", "https"), ("false", "kubernetes.io/h2c")])
def test_clients_speak_tls_to_the_gateway_unless_a_proxy_does(public: str, scheme: str) -> None:
    objects = render("tls", f"tls.public={public}")
    [port] = named(objects, "Service", "gateway")["spec"]["ports"]
    assert port["appProtocol"] == scheme
    [client] = pod_specs(objects)["Pod/t-tandem-test"]["containers"]
    variables = {variable["name"]: variable.get("value") for variable in client["env"]}
    is_secured = public == "true"
    assert (variables["TANDEM_ADDRESS"] or "").startswith("https://") == is_secured
    assert ("TANDEM_CA_FILE" in variables) == is_secured
    if is_secured:
        assert volume_of(pod_specs(objects)["Pod/t-tandem-test"]) == {"configMap": ("tandem-authorities", {"ca.crt"})}


@needs_helm
@pytest.mark.parametrize("values", sorted(set(CI) - {"tls"}))
def test_nothing_of_it_is_there_until_it_is_enabled(values: str) -> None:
    objects = render(values)
    assert not [each for each in objects if each["kind"] == "Certificate"]
    for spec in pod_specs(objects).values():
        assert "tls" not in {volume["name"] for volume in spec.get("volumes", [])}
