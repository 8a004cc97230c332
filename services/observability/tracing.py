"""Logs and traces. Spans are exported by OTLP when OTEL_EXPORTER_OTLP_ENDPOINT is set, and never hold a request up."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from opentelemetry import trace
from opentelemetry.instrumentation.grpc import aio_client_interceptors, aio_server_interceptor, filters
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from services.observability import metrics

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
