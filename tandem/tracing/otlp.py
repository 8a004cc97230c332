"""The exporter of spans over OTLP, for the processes and the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tandem.errors import SetupError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

GRPC, HTTP = "grpc", "http/protobuf"
PROTOCOL, ENDPOINT = "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_ENDPOINT"


def span_exporter(protocol: str, timeout_seconds: float, endpoint: str | None = None) -> SpanExporter:
    """The SDK reads headers and certificates from OTEL_EXPORTER_OTLP_*, and the endpoint too where it is not given.

    Raises SetupError for a protocol that the SDK for Python has not.
    """
    if protocol == HTTP:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter

        return HttpExporter(endpoint and f"{endpoint.rstrip('/')}/v1/traces", timeout=timeout_seconds)
    if protocol != GRPC:
        raise SetupError(f"{PROTOCOL}: {protocol!r} is neither {GRPC} nor {HTTP}")
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter

    return GrpcExporter(endpoint, timeout=timeout_seconds)
