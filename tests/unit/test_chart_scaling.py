"""Autoscaling in the chart: what each scaler looks at, with which credentials, and who may go to zero."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.chart import named, needs_helm, refusal, render

QUEUE = "tandem-qwen2.5-coder-1.5b-0.5b"
KEDA = (
    "insightGenerator.autoscaling.enabled=true",
    "insightGenerator.autoscaling.kind=keda",
    "insightGenerator.autoscaling.prometheusAddress=http://p",
)


def triggers(objects: list[dict[str, Any]], component: str, kind: str) -> list[dict[str, Any]]:
    return [t for t in named(objects, "ScaledObject", component)["spec"]["triggers"] if t["type"] == kind]


@needs_helm
def test_workers_scale_by_the_tasks_of_all_their_queues_activities_among_them() -> None:
    looked_at = {
        trigger["metadata"]["taskQueue"]: trigger["metadata"]["queueTypes"]
        for trigger in triggers(render("sleep"), "worker", "temporal")
    }
    assert looked_at == {
        QUEUE: "workflow,activity", f"{QUEUE}-llm": "activity", f"{QUEUE}/batch": "workflow,activity",
    }  # fmt: skip


@needs_helm
def test_the_queues_are_those_that_the_code_names() -> None:
    from tandem.method.names import batch_queue, llm_queue, solve_queue

    profile = QUEUE.removeprefix("tandem-")
    names = {trigger["metadata"]["taskQueue"] for trigger in triggers(render("sleep"), "worker", "temporal")}
    assert names == {queue(profile) for queue in (solve_queue, llm_queue, batch_queue)}


@needs_helm
def test_keda_gets_the_credentials_that_the_workers_have() -> None:
    cloud = render("sleep")
    authentication = named(cloud, "TriggerAuthentication", "temporal")["spec"]["secretTargetRef"]
    assert authentication == [{"parameter": "apiKey", "name": "tandem-temporal", "key": "api-key"}]
    assert {t["authenticationRef"]["name"] for t in triggers(cloud, "worker", "temporal")} == {"t-tandem-temporal"}
    mutual = render(
        "sleep",
        "temporal.apiKeySecret=",
        "temporal.tls.existingSecret=mtls",
        "temporal.tls.serverName=temporal.internal",
    )
    parts = {
        p["parameter"]: (p["name"], p["key"])
        for p in named(mutual, "TriggerAuthentication", "temporal")["spec"]["secretTargetRef"]
    }
    assert parts == {"cert": ("mtls", "tls.crt"), "key": ("mtls", "tls.key")}
    assert triggers(mutual, "worker", "temporal")[0]["metadata"]["tlsServerName"] == "temporal.internal"
    authority = render("sleep", "temporal.tls.caSecret=ca")
    parts = {p["parameter"] for p in named(authority, "TriggerAuthentication", "temporal")["spec"]["secretTargetRef"]}
    assert parts == {"apiKey", "ca"}
    open_one = render("sleep", "temporal.apiKeySecret=")
    assert not [o for o in open_one if o["kind"] == "TriggerAuthentication"]
    assert all("authenticationRef" not in t for t in triggers(open_one, "worker", "temporal"))
    prometheus, _ = triggers(cloud, "insight-generator", "prometheus")
    assert prometheus["authenticationRef"] == {"name": "prometheus-reader"}


@needs_helm
def test_a_large_model_at_zero_is_woken_by_an_attempt_of_any_pair_that_it_serves() -> None:
    objects = render(
        "sleep", "profiles[0].name=second", "profiles[0].insightGenerator.sharedWith=" + QUEUE.removeprefix("tandem-")
    )
    scaled = named(objects, "ScaledObject", "insight-generator")["spec"]
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"], scaled["cooldownPeriod"]) == (0, 4, 900)
    load, waking = (t["metadata"]["query"] for t in triggers(objects, "insight-generator", "prometheus"))
    assert load.startswith('sum(tandem_engine_requests{namespace="ns",role="llm",pod=~"t-tandem-insight-generator-')
    profiles = f"{QUEUE.removeprefix('tandem-')}|second"
    assert (
        waking
        == f'sum(increase(tandem_model_unavailable_total{{namespace="ns",role="llm",profile=~"{profiles}"}}[2m]))'
    )
    assert len(triggers(render("sleep"), "sufficiency-scorer", "prometheus")) == 1


@needs_helm
def test_pods_go_by_the_same_pause_whether_they_are_the_last_or_not() -> None:
    scaled = named(render("sleep"), "ScaledObject", "insight-generator")["spec"]
    behavior = scaled["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == scaled["cooldownPeriod"]


@needs_helm
@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (("worker.autoscaling.minReplicas=0",), "worker.autoscaling.minReplicas must be at least 1"),
        (("insightGenerator.autoscaling.kind=hpa",), "only insightGenerator and slmExecutor with kind keda go to 0"),
        (
            ("insightGenerator.autoscaling.prometheusAddress=",),
            "insightGenerator.autoscaling.prometheusAddress is needed",
        ),
        (("worker.autoscaling.kind=hpa",), "worker.autoscaling.externalMetric is needed"),
        (("worker.autoscaling.kind=vpa",), "kind"),
    ],
)
def test_a_scaler_that_could_not_work_is_refused(sets: tuple[str, ...], message: str) -> None:
    assert message in refusal("sleep", *sets)


@needs_helm
def test_without_keda_the_same_metrics_come_from_an_adapter() -> None:
    objects = render(
        "sleep", "worker.autoscaling.kind=hpa", "worker.autoscaling.externalMetric=temporal_backlog",
        "insightGenerator.autoscaling.kind=hpa", "insightGenerator.autoscaling.minReplicas=1",
    )  # fmt: skip
    waiting = [m["external"]["metric"] for m in named(objects, "HorizontalPodAutoscaler", "worker")["spec"]["metrics"]]
    assert [m["selector"]["matchLabels"]["taskqueue"] for m in waiting] == [QUEUE, f"{QUEUE}-llm"]
    assert {m["name"] for m in waiting} == {"temporal_backlog"}
    [load] = named(objects, "HorizontalPodAutoscaler", "insight-generator")["spec"]["metrics"]
    assert load["pods"]["metric"]["name"] == "tandem_engine_requests"


@needs_helm
def test_each_pairs_pods_scale_by_their_own_load() -> None:
    assert pattern(render("profiles"), "insight-generator-support").startswith("t-tandem-insight-generator-support-")


def pattern(objects: list[dict[str, Any]], component: str) -> str:
    """Of the names of the pods that the model's scaler looks at."""
    [scaled] = [o for o in objects if o["kind"] == "ScaledObject" and o["metadata"]["name"].endswith(component)]
    [found] = re.findall('pod=~"(.*?)"', scaled["spec"]["triggers"][0]["metadata"]["query"])
    return str(found)


def pods(target: str) -> list[str]:
    """Names that Kubernetes may give a Deployment's pods: its name and hash, cut to 58 characters, and five more."""
    return [f"{f'{target}-{digest}-'[:58]}x9k7q" for digest in ("z" * 10, "z" * 9)]


@needs_helm
@pytest.mark.parametrize("mode", ["deployment", "kserve"])
@pytest.mark.parametrize("length", [3, 12, 15, 18, 22, 40])
def test_a_scaler_finds_its_pods_by_name_however_long_the_release_is(length: int, mode: str) -> None:
    objects = render("profiles", f"fullnameOverride={'r' * length}", f"serving.mode={mode}", *KEDA)
    ending = "-predictor" if mode == "kserve" else ""
    scaled = {o["metadata"]["name"] for o in objects if o["kind"] == "ScaledObject"}
    found = {name: pattern(objects, name) for name in scaled if "insight-generator" in name}
    assert len(found) == 2
    for name, own in found.items():
        for other in found:
            assert [bool(re.fullmatch(own, pod)) for pod in pods(f"{other}{ending}")] == [other == name] * 2, (
                own,
                other,
            )
