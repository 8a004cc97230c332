"""Values that an operator expects of any chart, as ci/edge-values.yaml uses them, and which engines and images there
are.
"""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import Any

import pytest

from tandem.method.names import DISTRIBUTION
from tests.chart import CHART, COMPONENTS, EDGE, MODELS, ROOT, named, needs_helm, pod_specs, refusal, render

VERSION = version(DISTRIBUTION)
EXECUTOR = "Deployment/t-tandem-slm-executor"


@pytest.fixture(scope="module")
def edge() -> list[dict[str, Any]]:
    return render("edge")


@needs_helm
def test_each_component_may_run_its_own_image_of_ones_own_registry(edge: list[dict[str, Any]]) -> None:
    specs = pod_specs(edge)
    targets = re.findall(r"^FROM \S+ AS (\S+)$", (ROOT / "deploy/Dockerfile").read_text(), flags=re.MULTILINE)
    for component in COMPONENTS:
        image = specs[f"Deployment/t-tandem-{component}"]["containers"][0]["image"]
        assert image == f"registry.example.com/ai/tandem-{component}:{VERSION}"
        assert component in targets
    [tokenizers] = specs["Deployment/t-tandem-gateway"]["initContainers"]
    assert (
        tokenizers["image"] == f"registry.example.com/ai/tandem-slm-executor:{VERSION}"
    )  # one with what a download needs
    assert {tuple(s["name"] for s in spec["imagePullSecrets"]) for spec in specs.values()} == {("registry",)}


@needs_helm
def test_there_is_no_registry_that_somebody_else_could_fill() -> None:
    assert "make images PUSH=REGISTRY" in refusal("gpu", "image.registry=")


@needs_helm
def test_one_registry_of_a_whole_company_overrides_that_of_every_image() -> None:
    specs = pod_specs(render("minimal", "global.imageRegistry=mirror.example.org"))
    images = [c["image"] for spec in specs.values() for c in [*spec["containers"], *spec.get("initContainers", [])]]
    assert {image.partition("/")[0] for image in images} == {"mirror.example.org"}
    assert "mirror.example.org/redis:8.2-alpine" in images


@needs_helm
def test_tls_ends_at_the_edge_for_http_and_grpc(edge: list[dict[str, Any]]) -> None:
    [gateway] = [o["spec"] for o in edge if o["kind"] == "Gateway"]
    [listener] = gateway["listeners"]
    assert (listener["protocol"], listener["port"], listener["tls"]["mode"]) == ("HTTPS", 443, "Terminate")
    assert listener["tls"]["certificateRefs"] == [{"kind": "Secret", "name": "ai-tls"}]
    for kind in ("GRPCRoute", "HTTPRoute"):
        [route] = [o["spec"] for o in edge if o["kind"] == kind]
        assert route["parentRefs"] == [{"name": "t-tandem", "sectionName": "https"}]
    assert "expose.className is needed" in refusal("edge", "expose.className=")
    assert "ends TLS" in refusal("edge", "expose.http.tlsSecret=", "expose.grpc.tlsSecret=")
    ingresses = {o["metadata"]["name"]: o for o in render("tenants") if o["kind"] == "Ingress"}
    grpc = ingresses["t-tandem-grpc"]
    assert grpc["metadata"]["annotations"] == {"nginx.ingress.kubernetes.io/backend-protocol": "GRPC"}
    [path] = grpc["spec"]["rules"][0]["http"]["paths"]
    assert path["backend"]["service"] == {"name": "t-tandem-gateway", "port": {"number": 50051}}
    assert all(o["spec"]["tls"][0]["secretName"] == "ai-tls" for o in ingresses.values())
    assert "needs expose.http.hosts or expose.grpc.hosts" in refusal("gpu", "expose.kind=Ingress")


@needs_helm
def test_the_grpc_route_leads_to_every_service_of_the_gateway() -> None:
    [route] = [o["spec"] for o in render("external-secrets") if o["kind"] == "GRPCRoute"]
    services = {match["method"]["service"] for match in route["rules"][0]["matches"]}
    found = re.findall(
        r"^service (\w+)",
        "".join((ROOT / "protos/tandem/v1" / f"{name}.proto").read_text() for name in ("tandem", "batch")),
        re.MULTILINE,
    )
    assert services == {*(f"tandem.v1.{name}" for name in found), "grpc.health.v1.Health"}


@needs_helm
def test_placement_and_identity_are_each_components_own(edge: list[dict[str, Any]]) -> None:
    specs = pod_specs(edge)
    gateway = specs["Deployment/t-tandem-gateway"]
    assert gateway["nodeSelector"] == {"example.com/zone": "edge"}
    assert gateway["tolerations"] == [{"key": "edge", "operator": "Exists"}]
    [spread] = gateway["topologySpreadConstraints"]
    assert spread["topologyKey"] == "topology.kubernetes.io/zone"
    account = named(edge, "ServiceAccount", "gateway")
    assert "role/tandem" in account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"]
    assert specs[EXECUTOR]["runtimeClassName"] == "kata"
    for component in COMPONENTS:
        spec, deployment = specs[f"Deployment/t-tandem-{component}"], named(edge, "Deployment", component)
        assert spec["priorityClassName"] == "production"
        assert "nodeAffinity" in spec["affinity"]
        assert deployment["metadata"]["annotations"] == {"example.com/owner": "ai"}
        template = deployment["spec"]["template"]["metadata"]
        assert template["annotations"]["example.com/scan"] == "true"
        assert template["labels"]["example.com/team"] == "ai"
        assert "example.com/team" not in deployment["spec"]["selector"]["matchLabels"]
    for component in ("gateway", EDGE, "worker"):
        assert named(edge, "PodDisruptionBudget", component)["spec"]["maxUnavailable"] == 1


@needs_helm
def test_a_pod_takes_more_containers_volumes_variables_and_shared_memory(edge: list[dict[str, Any]]) -> None:
    spec = pod_specs(edge)[EXECUTOR]
    assert [c["name"] for c in spec["initContainers"]] == ["models", "check-disk"]
    assert [c["name"] for c in spec["containers"]] == ["slm-executor", "log-shipper"]
    assert {"name": "TANDEM_MAX_WAITING", "value": "128"} in spec["containers"][0]["env"]
    assert {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}} in spec["volumes"]
    mounts = {m["mountPath"]: m["name"] for m in spec["containers"][0]["volumeMounts"]}
    assert (mounts["/dev/shm"], mounts["/etc/company"]) == ("shm", "certificates")


@needs_helm
def test_extra_objects_are_templates(edge: list[dict[str, Any]]) -> None:
    assert named(edge, "ConfigMap", "ca")["data"] == {"ca.pem": "..."}
    assert [o["metadata"]["name"] for o in render("deepseek") if o["kind"] == "PriorityClass"] == ["tandem-models"]


@needs_helm
@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("insightGenerator.engine=nonsense", "insightGenerator/engine|insightGenerator.engine"),
        ("slmExecutor.engine=nonsense", "slmExecutor/engine|slmExecutor.engine"),
        ("sufficiencyScorer.engine=vllm", "sufficiencyScorer/engine|sufficiencyScorer.engine"),
        ("insightGenerator.device=gpu", "device"),
        ("image.rolls=true", "'rolls' not allowed"),
        ("logs.level=debug", "level"),
        ("network.ipFamilyPolicy=DualStack", "ipFamilyPolicy"),
        ("expose.kind=Route", "kind"),
        ("modelDefaults.engine=openai", "sufficiencyScorer.engine: openai computes no scores"),
        ("tls.existingSecrets.fourthSlmExecutor=a", "'fourthSlmExecutor' not allowed"),
    ],
)
def test_an_engine_that_is_none_does_not_render(option: str, message: str) -> None:
    assert re.search(message, refusal("gpu", option))


@needs_helm
def test_vllm_runs_the_image_that_has_it_with_its_arguments_and_on_gpus_alone() -> None:
    spec = pod_specs(render("deepseek"))["Deployment/t-tandem-insight-generator"]
    [container] = spec["containers"]
    assert container["image"] == f"registry.example.com/ai/tandem:{VERSION}-vllm"
    variables = {e["name"]: e.get("value") for e in container["env"]}
    assert '"tensor_parallel_size":2' in variables["TANDEM_ENGINE_ARGS"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 2
    assert "insightGenerator.engine vllm needs GPUs" in refusal("deepseek", "accelerator=none")
    dockerfile = (ROOT / "deploy/Dockerfile").read_text()
    stage = dockerfile[dockerfile.index(" AS build-vllm") :]
    assert "--locked" in stage[: stage.index("FROM ", 5)]
    assert "--extra vllm" in stage[: stage.index("FROM ", 5)]
    assert re.search(r"^FROM \S+ AS vllm$", dockerfile, re.MULTILINE)


@needs_helm
@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (("gpus=1",), "vLLM would take 2 GPUs, and the pod has 1: set insightGenerator.gpus"),
        (("engineArgs.pipeline_parallel_size=2",), "vLLM would take 4 GPUs, and the pod has 2"),
        (("engineArgs.tensor_paralel_size=2",), "vLLM has no argument tensor_paralel_size"),
        (("gpus=0",), "insightGenerator.engine vllm needs GPUs: gpus or resourceClaims"),
    ],
)
def test_what_vllm_would_refuse_when_it_starts_does_not_render(sets: tuple[str, ...], message: str) -> None:
    assert message in refusal("deepseek", *(f"insightGenerator.{each}" for each in sets))


@needs_helm
def test_arguments_of_another_vllm_are_taken_where_the_values_say_so() -> None:
    render("deepseek", "insightGenerator.engineArgs.tensor_paralel_size=2", "serving.checkEngineArgs=false")


def test_the_arguments_are_those_of_the_locked_vllm() -> None:
    head = (CHART / "files/vllm-arguments.txt").read_text().partition("\n")[0]
    [version] = re.findall(r'^name = "vllm"\nversion = "(.+)"', (ROOT / "uv.lock").read_text(), re.MULTILINE)
    assert version in head


@needs_helm
def test_vllm_on_several_gpus_has_shared_memory_for_its_processes() -> None:
    def shared(values: str, component: str, *sets: str) -> list[dict[str, Any]]:
        spec = pod_specs(render(values, *sets))[f"Deployment/t-tandem-{component}"]
        return [volume["emptyDir"] for volume in spec["volumes"] if volume["name"] == "shm"]

    assert shared("dra", "insight-generator") == [{"medium": "Memory", "sizeLimit": "8Gi"}]
    assert shared("dra", "slm-executor") == []
    assert shared("deepseek", "insight-generator", "insightGenerator.shmSize=2Gi")[0]["sizeLimit"] == "2Gi"


@needs_helm
def test_a_gpu_may_be_a_slice_of_one() -> None:
    sliced = pod_specs(render("deepseek"))
    for component in ("sufficiency-scorer", "slm-executor"):
        limits = sliced[f"Deployment/t-tandem-{component}"]["containers"][0]["resources"]["limits"]
        assert limits["nvidia.com/mig-3g.40gb"] == 1
    shared = pod_specs(render("gpu", r"pools.slm.gpuResource=nvidia\.com/gpu\.shared"))[EXECUTOR]["containers"][0]
    assert shared["resources"]["limits"]["nvidia.com/gpu.shared"] == 1


NODES = {  # ci/deepseek-values.yaml names them: cores, GiB, GPUs
    "llm": (24, 192, {"nvidia.com/gpu": 2}),
    "slm": (16, 96, {"nvidia.com/mig-3g.40gb": 2}),
}


@needs_helm
def test_the_deepseek_pairs_requests_and_limits_fit_the_nodes_that_its_file_names() -> None:
    specs = pod_specs(render("deepseek"))
    for pool, (cores, memory, gpus) in NODES.items():
        pods = [
            specs[f"Deployment/t-tandem-{name}"]["containers"][0]["resources"]
            for name in MODELS
            if specs[f"Deployment/t-tandem-{name}"]["nodeSelector"]["tandem.dev/pool"] == pool
        ]
        assert sum(float(r["requests"]["cpu"]) for r in pods) <= cores
        assert sum(int(r["limits"]["memory"].removesuffix("Gi")) for r in pods) <= memory
        assert all(int(r["requests"]["memory"][:-2]) <= int(r["limits"]["memory"][:-2]) for r in pods)
        for resource, count in gpus.items():
            assert sum(r["limits"].get(resource, 0) for r in pods) == count
