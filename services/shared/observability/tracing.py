"""Logging and tracing of a process: tracer provider, OTLP exporter, gRPC interceptors.

Spans are exported by OTLP when OTEL_EXPORTER_OTLP_ENDPOINT is set. Exporting never delays a request.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Literal

from opentelemetry import trace
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.instrumentation.grpc import aio_client_interceptors, aio_server_interceptor, filters
from opentelemetry.instrumentation.grpc._aio_client import UnaryUnaryAioClientInterceptor
from opentelemetry.metrics import set_meter_provider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import DropAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from pydantic import AliasChoices, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.shared.observability.text import LOG_FORMAT, TextlessExporter, TextlessFormatter
from tandem.errors import SetupError
from tandem.method.names import DISTRIBUTION
from tandem.method.problems import problems
from tandem.tracing.otlp import GRPC, span_exporter

_FLUSH_SECONDS = 5.0
_NOT_TRACED = filters.any_of(
    filters.service_prefix("grpc.health"), filters.service_prefix("grpc.reflection"), filters.service_prefix("temporal")
)
tracer = trace.get_tracer("tandem", version(DISTRIBUTION))


class TelemetrySettings(BaseSettings):
    """What `setup` reads from the environment, once. The OpenTelemetry SDK reads further OTEL_* variables by itself."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    endpoint: str = Field(
        "",
        validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        description="OTLP collector, such as http://host:4317 (gRPC) or http://host:4318 (HTTP); empty: no spans",
    )
    protocol: str = Field(
        GRPC,
        validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"),
        description="grpc, or http/protobuf",
    )
    timeout_seconds: float = Field(
        2.0,
        gt=0,
        validation_alias="OTEL_EXPORTER_OTLP_TIMEOUT",
        description="of one export",
    )
    log_format: Literal["text", "json"] = Field(
        "text", validation_alias="TANDEM_LOG_FORMAT", description="json: one object a line, with the trace's id"
    )
    has_text: bool = Field(
        False,
        validation_alias="TANDEM_TELEMETRY_TEXT",
        description="keep messages of errors in logs and spans, and a caller's `user` and `metadata` in spans",
    )


def setup(service_name: str, log_level: str = "INFO", provider_factory: Any = TracerProvider) -> None:
    """Configure logging to stderr and the process's tracer provider, which records nothing without an endpoint.

    `provider_factory(resource=..., sampler=...)` creates the provider. A process with a Temporal client passes
    Temporal's own factory, whose span ids are the same on replay. Raises SetupError on a bad OTEL_EXPORTER_OTLP_TIMEOUT
    or _PROTOCOL.
    """
    try:
        settings = TelemetrySettings()
    except ValidationError as error:
        raise SetupError(problems(error)) from error
    _setup_logging(log_level, settings, service_name)
    resource = Resource.create({"service.name": service_name, "service.version": version(DISTRIBUTION)})
    if settings.endpoint:
        _enable_sdk_metrics()
    provider = provider_factory(resource=resource, sampler=None if settings.endpoint else ALWAYS_OFF)
    if settings.endpoint:
        exporter = span_exporter(settings.protocol, settings.timeout_seconds)
        provider.add_span_processor(BatchSpanProcessor(exporter if settings.has_text else TextlessExporter(exporter)))
    trace.set_tracer_provider(provider)


def shutdown() -> None:
    """Export the remaining spans, for five seconds at most: the exporter alone waits 30 s for a collector that is
    down.
    """
    stop = getattr(trace.get_tracer_provider(), "shutdown", None)
    if stop is None:
        return
    flusher = threading.Thread(target=stop, name="telemetry-flush", daemon=True)
    flusher.start()
    flusher.join(_FLUSH_SECONDS)


def server_interceptors() -> list[Any]:
    """gRPC server interceptors that open a span for each call, except health, reflection and Temporal."""
    return [aio_server_interceptor(filter_=filters.negate(_NOT_TRACED))]


class CancellableCalls(UnaryUnaryAioClientInterceptor):
    """OpenTelemetry's waits for the status of a call: a cancel ended that wait alone, and the call went on at the
    service.
    """

    async def _wrap_unary_response(self, continuation: Callable[[], Awaitable[Any]], span: trace.Span) -> Any:
        begun: list[Any] = []

        async def begin() -> Any:
            begun.append(await continuation())
            return begun[0]

        try:
            return await super()._wrap_unary_response(begin, span)
        except asyncio.CancelledError:
            for call in begun:
                call.cancel()
            span.end()
            raise


def client_interceptors() -> list[Any]:
    """gRPC client interceptors that open a span for each call, except health, reflection and Temporal."""
    traced = filters.negate(_NOT_TRACED)
    _, *of_streams = aio_client_interceptors(filter_=traced)
    return [CancellableCalls(trace.get_tracer("opentelemetry.instrumentation.grpc"), filter_=traced), *of_streams]


def current_trace_id() -> str:
    """W3C trace id of the current span, 32 hexadecimal digits; zeros outside a span."""
    return trace.format_trace_id(trace.get_current_span().get_span_context().trace_id)


def _setup_logging(level: str, settings: TelemetrySettings, service: str) -> None:
    make, is_json = logging.Formatter if settings.has_text else TextlessFormatter, settings.log_format == "json"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(make("%(message)s"), service) if is_json else make(LOG_FORMAT))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in ("httpx", "urllib3", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # A stream whose client has disconnected is closed in another context than it was opened in, which the API logs as
    # an error. The span ends all the same.
    logging.getLogger("opentelemetry.context").setLevel(logging.CRITICAL)


def _enable_sdk_metrics() -> None:
    """Export the SDK's own metrics: spans exported, failed, dropped (otel_sdk_*). It has no other switch than this
    variable.
    """
    os.environ.setdefault("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "true")
    keep = View(instrument_name="otel.sdk.*")
    drop = View(instrument_name="*", aggregation=DropAggregation())
    reader = PrometheusMetricReader(disable_target_info=True)
    set_meter_provider(MeterProvider(metric_readers=[reader], views=[keep, drop]))


class JsonFormatter(logging.Formatter):
    """One object a line: time (RFC 3339, UTC), severity, logger, message with its traceback, service, and trace and
    span within a span.

    `message` formats a record's message and traceback; it decides what of an exception is said.
    """

    def __init__(self, message: logging.Formatter, service: str) -> None:
        super().__init__()
        self._message, self._service = message, service

    def format(self, record: logging.LogRecord) -> str:
        written = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "severity": record.levelname,
            "logger": record.name,
            "message": self._message.format(record),
            "service": self._service,
        }
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            written |= {
                "trace_id": trace.format_trace_id(context.trace_id),
                "span_id": trace.format_span_id(context.span_id),
            }
        return json.dumps(written, ensure_ascii=False)
