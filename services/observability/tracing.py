"""Logs and traces. Spans are exported by OTLP when OTEL_EXPORTER_OTLP_ENDPOINT is set, and never hold a request up."""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from opentelemetry import trace
from opentelemetry.instrumentation.grpc import aio_client_interceptors, aio_server_interceptor, filters
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from services.observability import metrics
from tandem.method.prices import RolePrices

_FLUSH_SECONDS = 5.0
_EXPORT_TIMEOUT_SECONDS = 2
_NOT_TRACED = filters.any_of(
    filters.service_prefix("grpc.health"), filters.service_prefix("grpc.reflection"), filters.service_prefix("temporal")
)
tracer = trace.get_tracer("tandem", version("tandem"))


def setup(service_name: str, log_level: str = "INFO", provider_factory: Any = TracerProvider) -> None:
    """Logging to stderr and the process's tracer provider, which records nothing where nothing is exported.

    `provider_factory(resource=..., sampler=...)` makes the provider; a process that speaks Temporal passes Temporal's own, whose ids
    are the same on replay.
    """
    logging.basicConfig(
        level=log_level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    for noisy in ("httpx", "urllib3", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # A stream whose client has gone is closed from another context than it was opened in; the span ends all the same.
    logging.getLogger("opentelemetry.context").setLevel(logging.CRITICAL)
    exports = bool(_endpoint())
    if exports:  # the SDK's own figures tell of spans that were dropped
        os.environ.setdefault("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "true")
        metrics.watch_telemetry()
    resource = Resource.create({"service.name": service_name, "service.version": version("tandem")})
    provider = provider_factory(resource=resource, sampler=None if exports else ALWAYS_OFF)
    if exports:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        timeout = int(os.environ.get("OTEL_EXPORTER_OTLP_TIMEOUT", _EXPORT_TIMEOUT_SECONDS))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=timeout)))
    trace.set_tracer_provider(provider)


def shutdown() -> None:
    """Flush what is left, for five seconds at most: an exporter whose collector is down would block for thirty."""
    stop = getattr(trace.get_tracer_provider(), "shutdown", None)
    if stop is None:
        return
    flusher = threading.Thread(target=stop, name="telemetry-flush", daemon=True)
    flusher.start()
    flusher.join(_FLUSH_SECONDS)


def server_interceptors() -> list[Any]:
    return [aio_server_interceptor(filter_=filters.negate(_NOT_TRACED))]


def client_interceptors() -> list[Any]:
    return list(aio_client_interceptors(filter_=filters.negate(_NOT_TRACED)))


def current_trace_id() -> str:
    """W3C trace id of the span that is current, 32 hexadecimal digits; zeros outside a span."""
    return trace.format_trace_id(trace.get_current_span().get_span_context().trace_id)


def set_attributes(span: trace.Span, attributes: Mapping[str, Any]) -> None:
    """Set the attributes that have a value."""
    span.set_attributes({name: value for name, value in attributes.items() if value is not None})


def _endpoint() -> str | None:
    return os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")


@dataclass(frozen=True, slots=True)
class Inference:
    """Whose tokens a leaf span tells: the model in its role, for which request, in which attempt, at what price."""

    model: str
    role: str
    request_id: str
    attempt: int
    prices: RolePrices


class InferenceSpan:
    """A leaf span `chat {model}` (GenAI conventions): what ONE attempt of a model read and made, and what that costs.

    `gen_ai.usage.cost.*` is a proposal (semantic-conventions-genai PR 443), not yet a convention. Never the current
    span: a stream's generator may be closed from another context than it was started in.
    """

    def __init__(self, inference: Inference) -> None:
        self._inference, self._started_at = inference, time.time()
        self._span = tracer.start_span(f"chat {inference.model}", attributes=_identity(inference, "chat"))

    def end(self, reason: str, first_token_at: float | None, usage: tuple[int, int, int] | None) -> None:
        """`usage` is (read, cached, made); None: another span tells this attempt's tokens. Times are Unix seconds."""
        waited = None if first_token_at is None else first_token_at - self._started_at
        trace_id = trace.format_trace_id(self._span.get_span_context().trace_id)
        metrics.count_inference(
            self._inference.model, self._inference.role, time.time() - self._started_at, waited,
            usage[2] if usage else 0, trace_id,
        )  # fmt: skip
        set_attributes(
            self._span,
            {
                "gen_ai.response.finish_reasons": ["cancelled" if reason == "aborted" else reason],
                "gen_ai.response.time_to_first_chunk": waited,
                **(_usage(self._inference, *usage) if usage else {}),
            },
        )
        self._span.end()


def tell_lost(inference: Inference, read: int, made: int) -> None:
    """A leaf span for tokens whose own process died before it could tell them; nothing when there are none."""
    if read or made:
        attributes = {**_identity(inference, "chat"), **_usage(inference, read, 0, made), "tandem.lost": True}
        tracer.start_span(f"chat {inference.model}", attributes=attributes).end()


def describe_reading_ahead(span: trace.Span, inference: Inference, stage: int, read: int, cached: int) -> None:
    """The small model reads the prompt of an answer that may be called for."""
    attributes = {**_identity(inference, "read_ahead"), **_usage(inference, read, cached, 0), "tandem.stage": stage}
    set_attributes(span, attributes)


def describe_scoring(span: trace.Span, inference: Inference, stage: int, score: float, read: int, cached: int) -> None:
    """A scoring pass is an inference too: the small model reads the prompt."""
    set_attributes(
        span,
        {
            **_identity(inference, "evaluate"),
            **_usage(inference, read, cached, 0),
            "tandem.stage": stage,
            "gen_ai.evaluation.name": "sufficiency",
            "gen_ai.evaluation.score.value": score,
        },
    )


def describe_result(span: trace.Span, result: Mapping[str, Any]) -> None:
    """A request's totals (SolveResult as a dict), under our own prefix only, so that sums over leaves never double."""
    stop, cost, usage = result["stop"], result["cost"], result["usage"]
    set_attributes(
        span,
        {
            "tandem.request.id": result["request_id"],
            "tandem.profile": result["profile"],
            "tandem.stop.stage": stop["stage"],
            "tandem.stop.reason": str(stop["reason"]),
            "tandem.stop.score": stop["score"],
            "tandem.stop.threshold": stop["threshold"],
            "tandem.cancel.latency_ms": result["timings_ms"]["cancel"],
            "tandem.tokens.llm": usage["llm"]["output_tokens"],
            "tandem.tokens.slm": usage["slm"]["output_tokens"],
            "tandem.tokens.scorer": usage["scorer"]["input_tokens"],
            "tandem.tokens.overrun": usage["llm"]["overrun_tokens"],
            "tandem.cost.total": cost["usd"],
            "tandem.cost.llm": cost["usd_by_role"]["llm"],
            "tandem.cost.slm": cost["usd_by_role"]["slm"],
            "tandem.cost.scorer": cost["usd_by_role"]["scorer"],
            "tandem.cost.llm_alone": cost["usd_llm_alone"],
            "tandem.cost.saved": cost["usd_llm_alone"] - cost["usd"],
            "tandem.cost.overrun": cost["usd_overrun"],
            "tandem.cost.bucket": cost_bucket(cost["usd"]),
            "tandem.cost.currency": "USD",
            "tandem.cost.tflops.paper": cost["tflops_paper"],
            "tandem.cost.tflops.full": cost["tflops_full"],
            "tandem.price.version": cost["price_version"],
            "tandem.attempt": result["attempts"],
        },
    )


def cost_bucket(usd: float) -> str:
    """The decade that a cost lies in, as "1e-5..1e-4": Jaeger finds attributes by equality alone."""
    if usd <= 0:
        return "0"
    decade = math.floor(math.log10(usd))
    return f"1e{decade}..1e{decade + 1}"


def _identity(inference: Inference, operation: str) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "tandem",
        "gen_ai.request.model": inference.model,
        "tandem.request.id": inference.request_id,
        "tandem.role": inference.role,
        "tandem.attempt": inference.attempt,
    }


def _usage(inference: Inference, read: int, cached: int, made: int) -> dict[str, Any]:
    return {
        "gen_ai.usage.input_tokens": read,
        "gen_ai.usage.cache_read.input_tokens": cached,
        "gen_ai.usage.output_tokens": made,
        "gen_ai.usage.cost.amount": inference.prices.usd(read, cached, made),
        "gen_ai.usage.cost.currency": "USD",
        "gen_ai.usage.cost.source": "local",
    }
