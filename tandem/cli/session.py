"""What surrounds the requests of a command: a stack where one is wanted, and the client's own spans."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from importlib.util import find_spec

from tandem.cli.parts import needs
from tandem.paths import read_stack


@contextlib.contextmanager
def stack_for(wanted: bool, profile: str, quiet: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    with needs("--up", "local"):
        from tandem.cli.stack import start_missing, start_stack, stop_stack
        from tandem.local.planning import open_stack, require_same
    if (running := open_stack()) is not None:
        require_same(running, profile, jaeger=False)
        start_missing(running, quiet=True)
        yield
        return
    start_stack(profile, quiet=quiet)
    try:
        yield
    finally:
        stop_stack(quiet=quiet)


@contextlib.contextmanager
def traced() -> Iterator[None]:
    """Export the client's own span to the collector of OTEL_EXPORTER_OTLP_ENDPOINT or of the local stack.

    Only where OpenTelemetry's SDK is installed (the extra `service`): the client itself requires the API alone.
    """
    of_stack = (read_stack() or {}).get("environment", {}).get("OTEL_EXPORTER_OTLP_ENDPOINT")
    endpoint = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or of_stack
    if not endpoint or find_spec("opentelemetry.sdk") is None:
        yield
        return
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "tandem-cli"}))
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, insecure=endpoint.startswith("http://"), timeout=2))
    )
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        provider.shutdown()
