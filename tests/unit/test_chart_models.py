"""Weights in the chart: downloaded once, by whom, and into what. A claim that pods could not share is refused."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest

from tests.chart import EDGE, MODELS, ROOT, named, needs_helm, pod_specs, refusal, render

PAIR = "qwen2.5-coder-1.5b-0.5b"
MODELS_FILE = tomllib.loads((ROOT / "deploy" / "models.toml").read_text())
ROLES = {"insight-generator": "llm", "sufficiency-scorer": "slm", "slm-executor": "slm"}
TYPES = ("shared", "pvc", "ephemeral", "hostPath", "emptyDir", "existingClaim")
ONE_EACH = (
    "insightGenerator.replicaCount=1",
    "insightGenerator.autoscaling.enabled=false",
    "slmExecutor.autoscaling.enabled=false",
)
NEEDED = {"existingClaim": ("modelCache.existingClaim=mine",), "hostPath": ("modelCache.hostPath=/data/models",)}


def of_type(kind: str, *more: str) -> dict[str, dict[str, Any]]:
    objects = render("gpu", f"modelCache.type={kind}", *NEEDED.get(kind, ()), *ONE_EACH, *more)
    return pod_specs(objects)


def init(spec: dict[str, Any]) -> list[str]:
    [container] = spec["initContainers"]
    return list(container["args"])


def volume(spec: dict[str, Any]) -> dict[str, Any]:
    return next(v for v in spec["volumes"] if v["name"] == "models")


@needs_helm
@pytest.mark.parametrize("kind", TYPES)
def test_gateways_get_tokenizers_alone_and_no_claim(kind: str) -> None:
    specs = of_type(kind)
    spec = specs["Deployment/t-tandem-gateway"]
    assert init(spec) == [
        "tandem", "models", "pull", "--tokenizer-only", "--only", "slm", "--profile", PAIR,
    ]  # fmt: skip
    assert volume(spec) == {"name": "models", "emptyDir": {"sizeLimit": "2Gi"}}
    for other in (EDGE, "worker"):
        assert "initContainers" not in specs[f"Deployment/t-tandem-{other}"]
        assert "models" not in {v["name"] for v in specs[f"Deployment/t-tandem-{other}"]["volumes"]}


@needs_helm
@pytest.mark.parametrize("kind", ["pvc", "ephemeral", "hostPath", "emptyDir"])
def test_a_model_pod_downloads_its_own_model_where_nothing_is_shared(kind: str) -> None:
    specs = of_type(kind)
    for component, role in ROLES.items():
        words = init(specs[f"Deployment/t-tandem-{component}"])
        assert words == ["tandem", "models", "pull", "--profile", PAIR, "--only", role, "--engine", "transformers"]
    assert not [name for name in specs if name.startswith("Job/t-tandem-pull")]


@needs_helm
def test_the_default_engine_gets_gguf_files_on_cpus_and_what_transformers_loads_on_gpus() -> None:
    for values, form in ("minimal", "llamacpp"), ("gpu", "transformers"):
        specs = pod_specs(render(values))
        for component in ROLES:
            spec = specs[f"Deployment/t-tandem-{component}"]
            assert {"name": "TANDEM_ENGINE", "value": "auto"} in spec["containers"][0]["env"]
            assert init(spec)[init(spec).index("--engine") + 1] == form


@needs_helm
@pytest.mark.parametrize("kind", ["shared", "existingClaim"])
def test_one_job_fills_a_shared_claim_and_the_pods_wait_for_it(kind: str) -> None:
    specs = of_type(kind)
    [job] = [spec for name, spec in specs.items() if name.startswith("Job/t-tandem-pull")]
    words = [c["args"] for c in [*job["initContainers"], *job["containers"]]]
    assert words == [
        ["tandem", "models", "pull", "--only", role, "--engine", "transformers", "--profile", PAIR]
        for role in ("llm", "slm")
    ]
    assert "nvidia.com/gpu" not in str(job)
    for component in MODELS:
        spec = specs[f"Deployment/t-tandem-{component}"]
        assert init(spec)[:3] == ["tandem", "models", "wait"]
        assert init(spec)[-2:] == ["--timeout", "3600"]
        assert volume(spec) == volume(job)
        [mount] = [m for m in spec["containers"][0]["volumeMounts"] if m["name"] == "models"]
        assert mount["readOnly"] is True


@needs_helm
def test_another_download_is_another_job_because_a_job_cannot_change() -> None:
    changes = (
        (),
        ("image.tag=v2",),
        ("profile.name=mine",),
        ("commonLabels.team=ai",),
        ("imagePullSecrets[0].name=mine",),
        ("worker.nodeSelector.zone=a",),
        ("worker.priorityClassName=high",),
        ("modelCache.type=existingClaim", "modelCache.existingClaim=a"),
        ("modelCache.type=existingClaim", "modelCache.existingClaim=b"),
    )
    names = {
        name for sets in changes for name in pod_specs(render("gpu", *sets)) if name.startswith("Job/t-tandem-pull")
    }
    assert len(names) == len(changes)
    unlike = pod_specs(render("gpu", "gateway.replicaCount=5", "worker.drainSeconds=9"))
    assert len(names | {name for name in unlike if name.startswith("Job/t-tandem-pull")}) == len(changes)


@needs_helm
def test_what_downloads_has_the_executors_image_or_its_registry() -> None:
    digest = f"sha256:{'0' * 64}"

    def downloading(what: str, *sets: str) -> set[str]:
        specs = pod_specs(render("gpu", *sets))
        [job] = [spec for name, spec in specs.items() if name.startswith("Job/t-tandem-pull")]
        [tokenizers] = specs["Deployment/t-tandem-gateway"]["initContainers"]
        return {c[what] for c in [*job["initContainers"], *job["containers"], tokenizers]}

    def images(*sets: str) -> set[str]:
        return downloading("image", "image.roles=true", *sets)

    assert downloading("imagePullPolicy", "modelCache.image.pullPolicy=Always") == {"Always"}
    pinned = f"registry.example.com/ai/tandem-slm-executor@{digest}"
    assert images("accelerator=none", f"slmExecutor.image.digest={digest}") == {pinned}
    assert images(f"modelCache.image.digest={digest}") == {pinned}
    [on_gpu] = images(f"slmExecutor.image.digest={digest}", "slmExecutor.image.registry=mirror.local")
    assert on_gpu.startswith("mirror.local/tandem-slm-executor:")


@needs_helm
def test_what_each_type_mounts() -> None:
    claims = {kind: volume(of_type(kind)["Deployment/t-tandem-slm-executor"]) for kind in TYPES}
    assert claims["shared"]["persistentVolumeClaim"] == {"claimName": "t-tandem-models"}
    assert claims["pvc"]["persistentVolumeClaim"] == {"claimName": "t-tandem-slm-executor-models"}
    assert claims["existingClaim"]["persistentVolumeClaim"] == {"claimName": "mine"}
    assert claims["hostPath"]["hostPath"] == {"path": "/data/models", "type": "Directory"}
    assert claims["emptyDir"]["emptyDir"] == {"sizeLimit": "60Gi"}
    spec = claims["ephemeral"]["ephemeral"]["volumeClaimTemplate"]["spec"]
    assert (spec["accessModes"], spec["storageClassName"]) == (["ReadWriteOnce"], "shared-files")
    objects = render("gpu")
    assert named(objects, "PersistentVolumeClaim", "models")["spec"]["accessModes"] == ["ReadWriteMany"]
    assert len([o for o in objects if o["kind"] == "PersistentVolumeClaim"]) == 1


@needs_helm
def test_a_claim_of_one_node_is_refused_where_several_pods_need_it() -> None:
    several = refusal("gpu", "modelCache.type=pvc")
    assert re.search(
        r"a ReadWriteOnce claim serves one pod, and insight-generator may have 8\. Set modelCache\.type", several
    )
    assert "slm-executor may have 3" in refusal("gpu", "modelCache.type=pvc", *ONE_EACH, "slmExecutor.replicaCount=3")
    assert "nothing can be downloaded into such a claim" in refusal("gpu", "modelCache.accessMode=ReadOnlyMany")
    render("gpu", "modelCache.type=pvc", "modelCache.accessMode=ReadWriteMany")
    render("gpu", "modelCache.accessMode=ReadWriteOnce")  # of one node, where all its pods run
    api = ("insightGenerator.engine=openai", "insightGenerator.api.baseUrl=https://a")
    render("gpu", "modelCache.type=pvc", "slmExecutor.autoscaling.enabled=false", *api)  # no weights, no claim


@needs_helm
def test_a_claim_of_one_node_is_released_before_the_next_pod_takes_it() -> None:
    objects = render("gpu", "modelCache.type=pvc", "accelerator=none", *ONE_EACH)
    rolling = {
        component: named(objects, "Deployment", component)["spec"]["strategy"]["rollingUpdate"]
        for component in (*MODELS, "worker")
    }
    assert {rolling[component]["maxSurge"] for component in MODELS} == {0}
    assert rolling["worker"]["maxSurge"] == 1


@needs_helm
def test_without_a_download_the_models_must_be_in_place_for_gateways_too() -> None:
    for kind in ("shared", "pvc", "ephemeral", "emptyDir"):
        assert "needs models that are in place" in refusal(
            "gpu", f"modelCache.type={kind}", "modelCache.pull=false", *ONE_EACH
        )
    specs = of_type("existingClaim", "modelCache.pull=false")
    for component in (*MODELS, "gateway"):
        spec = specs[f"Deployment/t-tandem-{component}"]
        assert "initContainers" not in spec
        assert volume(spec)["persistentVolumeClaim"] == {"claimName": "mine"}
    assert not [name for name in specs if name.startswith("Job/t-tandem-pull")]


@needs_helm
def test_an_unknown_type_is_refused_by_the_schema() -> None:
    assert re.search("modelCache.type|/modelCache/type", refusal("gpu", "modelCache.type=nfs"))


@needs_helm
def test_llama_cpp_gets_files_that_nobody_converts() -> None:
    specs = pod_specs(render("minimal", "sufficiencyScorer.engine=transformers", "modelCache.type=shared"))
    [job] = [spec for name, spec in specs.items() if name.startswith("Job/t-tandem-pull")]
    steps = {c["name"]: c["args"] for c in [*job["initContainers"], *job["containers"]]}
    assert set(steps) == {"llm-llamacpp", "slm-llamacpp", "slm-transformers"}  # the scorer's is transformers'
    assert steps["slm-llamacpp"][4:6] == ["slm", "--engine"]


def claims(objects: list[dict[str, Any]]) -> dict[str, str]:
    """The size of each claim, by its name."""
    found = [o for o in objects if o["kind"] == "PersistentVolumeClaim"]
    return {
        o["metadata"]["name"].removeprefix("t-tandem-"): o["spec"]["resources"]["requests"]["storage"] for o in found
    }


PVC = ("modelCache.type=pvc", "modelCache.size=", *ONE_EACH)


@needs_helm
def test_a_claim_is_sized_by_the_models_that_it_holds() -> None:
    own = {"insight-generator-models": "6Gi", "sufficiency-scorer-models": "3Gi", "slm-executor-models": "3Gi"}
    assert claims(render("gpu", *PVC)) == own
    assert claims(render("gpu", *PVC, "modelCache.type=shared")) == {"models": "10Gi"}
    for kind in ("ephemeral", "emptyDir"):
        specs = of_type(kind, "modelCache.size=")
        for component in MODELS:
            assert own[f"{component}-models"] in str(volume(specs[f"Deployment/t-tandem-{component}"]))


@needs_helm
def test_one_size_for_all_claims_takes_the_place_of_those_by_what_they_hold() -> None:
    assert set(claims(render("gpu", *PVC, "modelCache.size=80Gi")).values()) == {"80Gi"}


@needs_helm
def test_the_default_claims_hold_the_shipped_pair_while_it_is_converted_and_little_more() -> None:
    llm, slm = (MODELS_FILE[f"{name}-instruct"]["bytes"] for name in ("qwen2.5-coder-1.5b", "qwen2.5-coder-0.5b"))
    found = claims(render("gpu", *PVC)) | claims(render("gpu", *PVC, "modelCache.type=shared"))
    held = {"insight-generator-models": llm, "sufficiency-scorer-models": slm, "slm-executor-models": slm}
    for name, gguf in (held | {"models": llm + slm}).items():
        room = int(found[name].removesuffix("Gi")) * 2**30
        needed = 4 * gguf  # the file, and three times as much for what transformers loads
        assert needed < 0.9 * room < 2 * needed, name
