"""Attribute names of spans, on which dashboards, alerts and `tandem trace cost` rely."""

from __future__ import annotations

from dataclasses import replace

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import ValidationError

from services.shared.observability import spans
from services.shared.observability.tracing import TelemetrySettings
from tandem.method.evidence.checks import CheckResult, Verdict
from tandem.method.profile.prices import RolePrices
from tandem.method.tokens import TokenCounts
from tests.observed import result

INFERENCE = spans.Inference("m", "llm", "r", 2, RolePrices(1.0, 0.5, 2.0))
IDENTITY = {
    "gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "tandem.request.id", "tandem.role",
    "tandem.attempt",
}  # fmt: skip
USAGE = {
    "gen_ai.usage.input_tokens", "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.output_tokens",
    "gen_ai.usage.cost.amount", "gen_ai.usage.cost.currency", "gen_ai.usage.cost.source",
}  # fmt: skip


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(spans, "tracer", provider.get_tracer("test"))
    return exporter


def only(exported: InMemorySpanExporter) -> ReadableSpan:
    [span] = exported.get_finished_spans()
    return span


def test_an_inference_reports_tokens_and_cost(exported: InMemorySpanExporter) -> None:
    spans.InferenceSpan(INFERENCE).end("aborted", None, TokenCounts(10, 4, 5))
    span = only(exported)
    assert span.name == "chat m"
    response = {"gen_ai.response.finish_reasons", "gen_ai.response.model", "gen_ai.request.stream", "error.type"}
    assert set(span.attributes) == IDENTITY | USAGE | response
    assert span.attributes["gen_ai.response.finish_reasons"] == ("error",)
    assert span.attributes["error.type"] == "cancelled"
    assert span.attributes["gen_ai.response.model"] == "m"
    assert span.attributes["gen_ai.provider.name"] == "tandem"
    assert span.kind is trace.SpanKind.INTERNAL
    assert span.attributes["gen_ai.usage.cost.amount"] == pytest.approx((10 + 2 + 10) / 1e6)


def test_an_inference_of_an_api_is_a_clients_span_with_its_provider_and_address(exported: InMemorySpanExporter) -> None:
    remote = replace(INFERENCE, provider="anthropic", server=("api.example.com", 8443))
    spans.InferenceSpan(remote).end("stop", None, TokenCounts(1, 0, 1))
    span = only(exported)
    assert span.kind is trace.SpanKind.CLIENT
    assert span.attributes["gen_ai.provider.name"] == "anthropic"
    assert (span.attributes["server.address"], span.attributes["server.port"]) == ("api.example.com", 8443)
    assert "error.type" not in span.attributes


def test_an_attempt_that_another_span_reports_has_no_usage(exported: InMemorySpanExporter) -> None:
    spans.InferenceSpan(INFERENCE).end("error", None, None)
    assert not set(only(exported).attributes) & USAGE


def test_discarded_tokens_are_marked(exported: InMemorySpanExporter) -> None:
    spans.report_discarded(INFERENCE, TokenCounts())
    assert not exported.get_finished_spans()
    spans.report_discarded(INFERENCE, TokenCounts(3, discarded=7))
    span = only(exported)
    assert span.attributes["tandem.lost"]
    assert span.attributes["gen_ai.usage.output_tokens"] == 7


def test_prefill_and_scoring_are_inferences(exported: InMemorySpanExporter) -> None:
    with spans.tracer.start_as_current_span("prefill"):
        spans.describe_prefill(trace.get_current_span(), INFERENCE, 1, TokenCounts(3, 2))
    with spans.tracer.start_as_current_span("score"):
        spans.describe_scoring(trace.get_current_span(), INFERENCE, 1, 0.5, TokenCounts(3, 2))
    prefill, score = exported.get_finished_spans()
    assert set(prefill.attributes) == IDENTITY | USAGE | {"tandem.stage"}
    evaluation = {"gen_ai.evaluation.name", "gen_ai.evaluation.score.value"}
    assert set(score.attributes) == set(prefill.attributes) | evaluation


def test_a_check_reports_its_verdict_and_not_its_detail(exported: InMemorySpanExporter) -> None:
    with spans.tracer.start_as_current_span("check regex"):
        result = CheckResult("regex", verdict=Verdict.FAIL, detail="'private' does not match", seconds=0.1)
        spans.describe_check(trace.get_current_span(), "r", result)
    assert dict(only(exported).attributes) == {
        "tandem.request.id": "r",
        "tandem.check.name": "regex",
        "tandem.check.verdict": "fail",
        "tandem.check.score": 0.0,
        "tandem.check.seconds": 0.1,
    }


def test_totals_have_our_own_prefix(exported: InMemorySpanExporter) -> None:
    with spans.tracer.start_as_current_span("root"):
        spans.describe_result(trace.get_current_span(), result("p"))
    assert set(only(exported).attributes) == {
        "tandem.request.id", "tandem.profile", "tandem.attempt", "tandem.price.version", "tandem.cancel.latency_ms",
        *(f"tandem.stop.{name}" for name in ("stage", "reason", "score", "threshold")),
        *(f"tandem.tokens.{name}" for name in ("llm", "slm", "scorer", "overrun")),
        *(f"tandem.cost.{name}" for name in ("total", "llm", "slm", "scorer", "llm_alone", "saved", "overrun")),
        *(f"tandem.cost.{name}" for name in ("bucket", "currency", "tflops.paper", "tflops.full")),
    }  # fmt: skip


def test_telemetry_settings_prefer_the_endpoint_of_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "")
    assert TelemetrySettings().endpoint == "http://all"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces")
    assert TelemetrySettings().endpoint == "http://traces"


def test_a_bad_telemetry_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")
    with pytest.raises(ValidationError, match="OTEL_EXPORTER_OTLP_TIMEOUT"):
        TelemetrySettings()
