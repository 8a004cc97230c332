"""The chart as it renders: what an operator relies on, without a cluster. tests/e2e/k8s runs it on one."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest
import yaml

from deploy import chart
from deploy.chart_schema import as_text, schema
from tests.chart import CHART, CHECKER, CI, COMPONENTS, EDGE, MODELS, ROOT, helm, named, needs_helm, pod_specs, render


def test_generated_parts_are_up_to_date() -> None:
    text = (CHART / "values.yaml").read_text()
    assert (CHART / "values.schema.json").read_text() == as_text(schema(yaml.safe_load(text))), "make chart"
    assert (CHART / "templates/_processes.tpl").read_text() == chart.processes(), "make chart"
    assert (CHART / "templates/_engines.tpl").read_text() == chart.engines(), "make chart"
    assert (CHART / "templates/_defaults.tpl").read_text() == chart.defaults(yaml.safe_load(text)), "make chart"
    assert (CHART / "files/alerts.yaml").read_bytes() == next((ROOT / "deploy/alerts").glob("*.yaml")).read_bytes()
    assert (CHART / "files/dashboard.json").read_bytes() == next(
        (ROOT / "deploy/dashboards").glob("*.json")
    ).read_bytes()


def test_the_schema_says_no_object_with_keys_twice() -> None:
    seen: list[str] = []

    def look(node: object) -> None:
        if isinstance(node, dict):
            seen.extend([json.dumps(node, sort_keys=True)] if "properties" in node else [])
            for each in node.values():
                look(each)

    look(json.loads((CHART / "values.schema.json").read_text()))
    assert len(seen) == len(set(seen)) > 30


def test_the_compose_file_is_valid() -> None:
    schema = json.loads((ROOT / "tests/schemas/compose-spec.json").read_text())
    jsonschema.validate(yaml.safe_load((ROOT / "deploy/compose.yaml").read_text()), schema)


@needs_helm
@pytest.mark.parametrize("values", CI)
def test_every_ci_file_renders(values: str) -> None:
    objects = render(values)
    assert len({(o["kind"], o["metadata"]["name"]) for o in objects}) == len(objects)
    assert helm("lint", str(CHART), "-f", str(CHART / "ci" / f"{values}-values.yaml")).returncode == 0


@needs_helm
@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("gatway.replicaCount=2", "'gatway' not allowed"),
        ("gateway.replicas=2", "'replicas' not allowed"),
        ("serving.mode=knative", "knative|mode"),
        ("gateway.service.type=Loadbalancer", "must be one of 'ClusterIP', 'NodePort', 'LoadBalancer'"),
        ("redis.url=", "redis.url or redis.existingSecret is needed"),
        ("auth.existingSecret=", "auth.existingSecret or auth.oidc.issuer is needed"),
        ("slmExecutor.sharedWith=another", "sharedWith"),
        ("profiles[0].slmExecutor.replicas=2", "'replicas' not allowed"),
    ],
)
def test_a_value_that_is_wrong_is_refused_by_name(option: str, message: str) -> None:
    done = helm("template", "t", str(CHART), "-f", str(CHART / "ci/gpu-values.yaml"), "--set", option)
    assert done.returncode != 0
    assert re.search(message, done.stderr)


@needs_helm
@pytest.mark.parametrize("values", CI)
def test_every_pod_may_run_under_pod_security_restricted(values: str) -> None:
    for name, spec in pod_specs(render(values)).items():
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False, name
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["readOnlyRootFilesystem"] is True, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert not container["image"].endswith(":latest"), name
            assert container["resources"]["requests"], name


@needs_helm
@pytest.mark.parametrize("values", CI)
def test_every_mount_is_of_a_volume_that_the_pod_has(values: str) -> None:
    for name, pod in pod_specs(render(values)).items():
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            mounts = {mount["name"] for mount in container.get("volumeMounts", [])}
            assert mounts <= volumes, f"{name}: {container['name']} mounts {mounts - volumes}"


@needs_helm
def test_models_land_on_their_pools_and_nothing_else_asks_for_a_gpu() -> None:
    specs = pod_specs(render("gpu"))
    for component, pool in (("insight-generator", "llm"), ("sufficiency-scorer", "slm"), ("slm-executor", "slm")):
        spec = specs[f"Deployment/t-tandem-{component}"]
        assert spec["nodeSelector"] == {"tandem.dev/pool": pool}
        assert spec["tolerations"][0]["key"] == "nvidia.com/gpu"
        assert spec["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
        assert spec["containers"][0]["image"].endswith("-cuda")
    for component in ("gateway", EDGE, "worker", CHECKER):
        spec = specs[f"Deployment/t-tandem-{component}"]
        assert "nodeSelector" not in spec
        assert "nvidia.com/gpu" not in spec["containers"][0]["resources"]["limits"]
    shared = pod_specs(render("gpu", "pools.slm.gpuResource=nvidia.com/gpu\\.shared"))
    assert (
        shared["Deployment/t-tandem-slm-executor"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu.shared"] == 1
    )


@needs_helm
@pytest.mark.parametrize("values", ["gpu", "kserve"])
def test_nobody_sets_replicas_that_an_autoscaler_owns(values: str) -> None:
    options = (
        "insightGenerator.autoscaling.enabled=true",
        "insightGenerator.autoscaling.prometheusAddress=http://p:9090",
        "modelCache.type=shared",
    )
    objects = render(values, *options)
    [scaled] = [o for o in objects if o["kind"] == "ScaledObject"]
    target = scaled["spec"]["scaleTargetRef"]["name"]
    if values == "gpu":
        assert "replicas" not in named(objects, "Deployment", "insight-generator")["spec"]
        assert target == "t-tandem-insight-generator"
    else:
        service = named(objects, "InferenceService", "insight-generator")
        assert service["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == "external"
        assert target == "t-tandem-insight-generator-predictor"


@needs_helm
def test_kserve_gets_one_port_named_grpc_and_standard_mode() -> None:
    objects = render("kserve")
    for component in MODELS:
        service = named(objects, "InferenceService", component)
        assert service["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == "Standard"
        assert service["metadata"]["labels"]["networking.kserve.io/visibility"] == "cluster-local"
        [container] = service["spec"]["predictor"]["containers"]
        assert container["name"] == "kserve-container"
        assert [port["name"] for port in container["ports"]] == ["grpc"]
        selector = named(objects, "Service", f"{component}-pods")["spec"]["selector"]
        assert selector.items() <= service["spec"]["predictor"]["labels"].items()


@needs_helm
def test_an_older_kserve_gets_its_own_name_of_the_mode() -> None:
    own = r"modelDefaults.annotations.serving\.kserve\.io/deploymentMode=RawDeployment"
    services = [o for o in render("kserve", own) if o["kind"] == "InferenceService"]
    assert {o["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] for o in services} == {"RawDeployment"}


@needs_helm
def test_a_pod_has_the_time_that_its_drain_takes() -> None:
    for values in CI:
        for name, spec in pod_specs(render(values)).items():
            variables = {e["name"]: e.get("value") for e in spec["containers"][0].get("env", [])}
            if "TANDEM_DRAIN" in variables and not name.startswith("Job"):
                needed = float(variables["TANDEM_DRAIN"]) + float(variables["TANDEM_UNREADY_PAUSE"])
                needed += float(variables.get("TANDEM_HANDOVER") or 0)
                assert spec["terminationGracePeriodSeconds"] >= needed + 5, name


@needs_helm
def test_network_policies_are_the_arrows_of_the_picture() -> None:
    objects = render("hardened")
    policies = {o["metadata"]["name"]: o["spec"] for o in objects if o["kind"] == "NetworkPolicy"}
    assert set(policies) == {f"t-tandem-{component}" for component in (*COMPONENTS, "setup", "test")}

    def callers(component: str) -> set[str]:
        rules = policies[f"t-tandem-{component}"].get("ingress") or []
        selectors = [s for r in rules for s in r.get("from", []) if r["ports"][0]["port"] == 50051]
        return {s["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for s in selectors if "podSelector" in s}

    assert {component: callers(component) for component in COMPONENTS} == {
        "gateway": {"test", EDGE},  # and the clients that the values name
        EDGE: set(),  # those alone, on a port of its own
        "worker": set(),
        **{callee: {"worker"} for callee in (*MODELS, CHECKER)},
    }
    for component in set(COMPONENTS) - {CHECKER, EDGE}:
        ports = {p["port"] for rule in policies[f"t-tandem-{component}"]["egress"] for p in rule["ports"]}
        assert 6380 in ports  # redis
        assert (7233 in ports) == (component in ("gateway", "worker"))
        assert (50051 in ports) == (component == "worker")


@needs_helm
def test_a_changed_profile_restarts_the_gateway_alone() -> None:
    before, after = (
        {o["metadata"]["name"]: o for o in render("gpu", *sets) if o["kind"] == "Deployment"}
        for sets in ((), ("profile.files.profile\\.toml=changed",))
    )
    assert [name for name in before if before[name] != after[name]] == ["t-tandem-gateway"]


@needs_helm
def test_versions_stand_in_no_selector_and_another_image_is_another_build() -> None:
    builds = set()
    for tag in ("1.0.0", "1.0.1"):
        objects = render("gpu", f"image.tag={tag}")
        for each in objects:
            selector = (each.get("spec") or {}).get("selector") or {}
            assert "app.kubernetes.io/version" not in json.dumps(selector)
        [container] = pod_specs(objects)["Deployment/t-tandem-worker"]["containers"]
        builds |= {e["value"] for e in container["env"] if e["name"] == "TANDEM_BUILD"}
    assert len(builds) == 2


@needs_helm
def test_secrets_are_those_that_another_tool_has_made() -> None:
    objects = render("external-secrets")
    assert not [o for o in objects if o["kind"] == "Secret"]
    [container] = pod_specs(objects)["Deployment/t-tandem-gateway"]["containers"]
    sources = {e["name"]: e["valueFrom"] for e in container["env"] if "valueFrom" in e}
    assert sources["REDIS_URL"]["secretKeyRef"] == {"name": "tandem-redis", "key": "url"}
    assert sources["TEMPORAL_API_KEY"]["secretKeyRef"]["name"] == "tandem-temporal"


@needs_helm
def test_a_large_model_behind_an_api_needs_no_pool_and_no_weights() -> None:
    spec = pod_specs(render("external-secrets"))["Deployment/t-tandem-insight-generator"]
    [container] = spec["containers"]
    assert "nodeSelector" not in spec
    assert "initContainers" not in spec
    assert "nvidia.com/gpu" not in container["resources"]["limits"]
    variables = {e["name"]: e for e in container["env"]}
    assert variables["TANDEM_ENGINE"]["value"] == "openai"
    assert variables["OPENAI_API_KEY"]["valueFrom"]["secretKeyRef"]["name"] == "tandem-llm"


@needs_helm
def test_every_setting_of_the_chart_is_one_that_a_process_reads() -> None:
    """A documented value that nothing reads is the worst kind of value."""
    sources = "".join(p.read_text() for f in ("services", "workflows", "tandem") for p in (ROOT / f).rglob("*.py"))
    read_by_libraries = re.compile(r"HOME|USER|OMP_|OTEL_|TEMPORAL_|POD_NAME|OPENAI_|ANTHROPIC_")
    for values in CI:
        for spec in pod_specs(render(values)).values():
            for container in [*spec["containers"], *spec.get("initContainers", [])]:
                for variable in container.get("env", []):
                    known = read_by_libraries.match(variable["name"]) or f'"{variable["name"]}"' in sources
                    assert known, variable["name"]


@needs_helm
def test_only_the_gateway_holds_what_it_knows_its_callers_by() -> None:
    for name, spec in pod_specs(render("gpu", "auth.oidc.issuer=https://issuer")).items():
        container = spec["containers"][0]
        variables = {e["name"]: e.get("value") for e in container.get("env", [])}
        mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
        is_gateway = name == "Deployment/t-tandem-gateway"
        assert (variables.get("TANDEM_API_KEYS") == "/etc/tandem/keys/keys.json") == is_gateway, name
        assert (variables.get("TANDEM_OIDC_ISSUER") == "https://issuer") == is_gateway, name
        assert ("/etc/tandem/keys" in mounts) == is_gateway, name
        assert "TANDEM_ALLOW_ANONYMOUS" not in variables, name


@needs_helm
def test_everyone_is_served_where_the_values_say_so_by_name_or_for_a_trial() -> None:
    open_one = render("gpu", "auth.existingSecret=", "auth.allowAnonymous=true")
    for objects in (open_one, render("minimal")):
        for gateway in ("gateway", "http-gateway"):
            [container] = named(objects, "Deployment", gateway)["spec"]["template"]["spec"]["containers"]
            assert {"name": "TANDEM_ALLOW_ANONYMOUS", "value": "true"} in container["env"], gateway


@needs_helm
def test_the_tenants_limits_reach_the_gateway_as_a_file_that_can_change() -> None:
    limits = "tenants.limits.tenants.acme.usd_per_day=5"
    objects = render("gpu", limits)
    [text] = named(objects, "ConfigMap", "tenants")["data"].values()
    assert json.loads(text) == {"tenants": {"acme": {"usd_per_day": 5}}}
    for given in (limits, "tenants.existingSecret=limits"):
        for name, spec in pod_specs(render("gpu", given)).items():
            container, is_gateway = spec["containers"][0], name == "Deployment/t-tandem-gateway"
            variables = {e["name"]: e.get("value") for e in container.get("env", [])}
            mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
            assert (variables.get("TANDEM_TENANTS") == "/etc/tandem/tenants/tenants.json") == is_gateway, name
            assert ("/etc/tandem/tenants" in mounts) == is_gateway, name
            assert "subPath" not in mounts.get("/etc/tandem/tenants", {})
    assert "TANDEM_TENANTS" not in json.dumps(render("gpu"))
