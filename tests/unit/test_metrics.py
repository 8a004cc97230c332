"""The metrics of every process."""

from __future__ import annotations

import shutil
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from services.shared.observability import metrics, outcome_metrics, tenant_metrics
from services.shared.observability.spans import Inference, InferenceSpan, cost_bucket
from tandem.cli.local_checks import judge_drift
from tandem.method.profile.prices import RolePrices
from tandem.method.profile.profile import load_profile
from tandem.method.tokens import TokenCounts
from tandem.paths import REPOSITORY
from tests.observed import TRACE_ID, Shifted, result
from tests.promising import promise

pytestmark = pytest.mark.usefixtures("own_series")


class Untrained:
    """The drift of a scorer that was not trained."""

    monitored, requests = (), 40

    def shift(self) -> list[float]:
        return []


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_every_token_of_a_result_is_counted() -> None:
    metrics.count_result(result("p1"), failed=False)
    assert value("tandem_requests_total", profile="p1", reason="sufficient") == 1
    assert value("tandem_stop_stage_total", profile="p1", stage="2", reason="sufficient") == 1
    states = {
        s: value("tandem_tokens_total", model="p1-llm", role="llm", state=s)
        for s in ("input", "output", "overrun", "discarded")
    }
    assert states == {"input": 10, "output": 40, "overrun": 3, "discarded": 7}
    assert value("tandem_cost_usd_total", model="p1-slm", role="slm") == pytest.approx(0.007)
    assert value("tandem_overrun_tokens_total", model="p1-llm") == 3
    assert value("tandem_request_duration_seconds_sum", profile="p1") == pytest.approx(0.9)
    assert value("tandem_degraded_requests_total", profile="p1") == 1


def test_what_a_cancelled_request_cost_is_no_saving() -> None:
    answered = result("saving")
    cancelled = replace(answered, cost=replace(answered.cost, saved_ratio=None))
    for each in (answered, cancelled, cancelled, cancelled):
        metrics.count_result(each, failed=False)
    cost = value("tandem_cost_answered_usd_total", profile="saving")
    alone = value("tandem_cost_llm_alone_usd_total", profile="saving")
    assert 1 - cost / alone == pytest.approx(0.5)
    assert value("tandem_cost_usd_total", model="saving-llm", role="llm") == pytest.approx(0.08)


def test_an_exemplar_links_to_the_trace() -> None:
    metrics.count_result(result("p2"), failed=False)
    text = generate_openmetrics(REGISTRY).decode()
    [line] = [line for line in text.splitlines() if line.startswith('tandem_requests_total{profile="p2"')]
    assert TRACE_ID in line


def gen_ai(model: str, provider: str = "tandem", address: str = "", port: str = "") -> dict[str, str]:
    """Labels of the series of one model, named as semantic-conventions-genai names the attributes, and our own
    `role`.
    """
    return {
        "gen_ai_operation_name": "chat", "gen_ai_provider_name": provider, "gen_ai_request_model": model,
        "gen_ai_response_model": model, "server_address": address, "server_port": port, "role": "llm",
    }  # fmt: skip


def test_an_inference_is_timed_by_the_conventions_labels() -> None:
    span = InferenceSpan(Inference("timed", "llm", "r", 1, RolePrices()))
    span.end("eos", span._started_at + 0.5, TokenCounts(10, 0, 5))
    assert value("gen_ai_server_time_to_first_token_seconds_sum", **gen_ai("timed")) == pytest.approx(0.5)
    assert value("gen_ai_server_time_per_output_token_seconds_count", **gen_ai("timed")) == 1
    assert value("gen_ai_server_request_duration_seconds_count", **gen_ai("timed"), error_type="") == 1


def test_an_inference_of_an_api_names_its_server_and_a_cancelled_one_its_error() -> None:
    api = Inference("far", "llm", "r", 1, RolePrices(), "openai", ("api.example.com", 443))
    InferenceSpan(api).end("aborted", None, TokenCounts(10, 0, 5))
    labels = gen_ai("far", "openai", "api.example.com", "443")
    assert value("gen_ai_server_request_duration_seconds_count", **labels, error_type="cancelled") == 1


def test_the_buckets_are_those_of_the_conventions() -> None:
    buckets = {
        name: [upper for upper in histogram._upper_bounds if upper != float("inf")]
        for name, histogram in (
            ("duration", metrics.INFERENCE_SECONDS),
            ("first", metrics.FIRST_TOKEN),
            ("token", metrics.PER_TOKEN),
        )
    }
    assert buckets == {
        "duration": [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92],
        "first": [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0],
        "token": [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5],
    }


def test_the_cost_of_each_tenant_is_counted_and_there_is_an_end_to_their_names() -> None:
    for number in range(tenant_metrics.MOST_NAMES + 5):
        tenant_metrics.count_cost(f"tenant-{number}", 0.5)
    tenant_metrics.count_cost("tenant-0", 0.25)
    tenant_metrics.count_cost("tenant-0", None)
    assert value("tandem_tenant_cost_usd_total", tenant="tenant-0") == 0.75
    assert value("tandem_tenant_cost_usd_total", tenant=tenant_metrics.OTHERS) >= 2.5
    series = [
        line
        for line in generate_latest(REGISTRY).decode().splitlines()
        if line.startswith("tandem_tenant_cost_usd_total{")
    ]
    assert len(series) <= tenant_metrics.MOST_NAMES + 1


def test_a_check_is_counted_by_its_verdict() -> None:
    metrics.count_check("counted", "fail", 0.02, TRACE_ID)
    assert value("tandem_checks_total", check="counted", verdict="fail") == 1
    assert value("tandem_check_duration_seconds_sum", check="counted") == pytest.approx(0.02)


def test_a_limit_that_is_taken_away_is_exported_no_longer() -> None:
    tenant_metrics.export_used_limits({("acme", "usd_per_day"): 0.5, ("acme", "usd_per_month"): 0.1})
    tenant_metrics.export_used_limits({("acme", "usd_per_month"): 0.2})
    assert value("tandem_tenant_limit_used_ratio", tenant="acme", limit="usd_per_month") == 0.2
    assert (
        REGISTRY.get_sample_value("tandem_tenant_limit_used_ratio", {"tenant": "acme", "limit": "usd_per_day"}) is None
    )


def test_metrics_are_served_over_http() -> None:
    from tandem.local.ports import free_port

    port = free_port()
    metrics.expose("127.0.0.1", port, "gateway")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as reply:
        assert b"tandem_requests_total" in reply.read()


@pytest.mark.parametrize(
    ("usd", "bucket"),
    [(0.0, "0"), (0.0123, "1e-2..1e-1"), (1e-5, "1e-5..1e-4"), (3.2, "1e0..1e1"), (0.00009, "1e-5..1e-4")],
)
def test_a_cost_lies_in_the_bucket_of_its_decade(usd: float, bucket: str) -> None:
    assert cost_bucket(usd) == bucket


def test_feature_drift_is_exported_and_the_doctor_warns() -> None:
    shifted = metrics.DriftCollector({"mine": Shifted(), "untrained": Untrained()})
    registry = CollectorRegistry()
    registry.register(shifted)
    text = generate_latest(registry).decode()
    assert "untrained" not in text
    check = judge_drift(text)
    assert check is not None
    assert not check.ok
    assert "entropy_max lies -1.5" in check.found
    assert judge_drift("") is None


def test_a_policy_that_promises_is_exported_before_it_becomes_stricter(tmp_path: Path) -> None:
    folder = tmp_path / "promised"
    shutil.copytree(REPOSITORY / "tests" / "profiles" / "scripted-shadow", folder)
    file = folder / "profile.toml"
    file.write_text(file.read_text().replace('"scripted-shadow"', '"promised"'))
    promise(folder)
    outcome_metrics.watch_promises([load_profile("promised", (tmp_path,))])
    assert REGISTRY.get_sample_value("tandem_policy_stricter_total", {"profile": "promised", "task": "answer"}) == 0


def test_a_second_small_model_is_watched_from_0_on_where_there_is_one() -> None:
    def watched(profile: str) -> set[str]:
        samples = (sample for family in metrics.UNAVAILABLE.collect() for sample in family.samples)
        return {s.labels["role"] for s in samples if s.labels["profile"] == profile}

    metrics.watch_availability("one-small-model")
    metrics.watch_availability("two-small-models", ["second_slm"])
    assert watched("one-small-model") == {"llm", "slm"}
    assert watched("two-small-models") == {"llm", "slm", "second_slm"}
