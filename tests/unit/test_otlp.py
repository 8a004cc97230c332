"""Spans leave a process over OTLP by gRPC or HTTP, as its environment says, each to a real receiver."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from os import environ
from threading import Thread
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from tandem.errors import SetupError
from tandem.local.planning import _trace_export
from tandem.tracing.otlp import ENDPOINT, HTTP, PROTOCOL, span_exporter
from tests.e2e.collector import Collector, attributes

SCRIPT = """
from services.shared.observability import tracing
tracing.setup("tandem-tested")
with tracing.tracer.start_as_current_span("work"):
    pass
tracing.shutdown()
"""


class HttpReceiver(ThreadingHTTPServer):
    """`received`: path, header `authorization`, and (service, span) of each export."""

    def __init__(self) -> None:
        self.received: list[tuple[str, str | None, list[tuple[str, Any]]]] = []
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: HttpReceiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        export = trace_service_pb2.ExportTraceServiceRequest.FromString(body)
        batches = export.resource_spans
        names = [
            (attributes(b.resource)["service.name"], s.name) for b in batches for c in b.scope_spans for s in c.spans
        ]
        self.server.received.append((self.path, self.headers["authorization"], names))
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.end_headers()


@pytest.fixture
def http_receiver() -> Iterator[HttpReceiver]:
    with HttpReceiver() as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()


def run(variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in environ.items() if not name.startswith("OTEL_")}
    return subprocess.run([sys.executable, "-c", SCRIPT], env={**own, **variables}, capture_output=True, text=True)


def test_spans_go_by_http_with_the_headers_of_the_environment(http_receiver: HttpReceiver) -> None:
    host = f"http://127.0.0.1:{http_receiver.server_port}/api/public/otel"
    headers = {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Basic%20a2V5"}
    done = run({ENDPOINT: host, PROTOCOL: HTTP, **headers})
    assert done.returncode == 0, done.stderr
    assert http_receiver.received == [("/api/public/otel/v1/traces", "Basic a2V5", [("tandem-tested", "work")])]


def test_spans_go_by_grpc_where_no_protocol_is_named() -> None:
    collector = Collector()
    try:
        assert run({ENDPOINT: collector.endpoint}).returncode == 0
        assert [(service, span.name) for service, span in collector.spans] == [("tandem-tested", "work")]
    finally:
        collector.stop()


def test_an_unknown_protocol_ends_the_process_by_name() -> None:
    done = run({ENDPOINT: "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"})
    assert done.returncode != 0
    assert "OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' is neither grpc nor http/protobuf" in done.stderr
    with pytest.raises(SetupError, match="http/json"):
        span_exporter("http/json", 1)


def test_a_stack_and_an_external_jaeger_are_sent_spans_by_the_protocol_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(ENDPOINT, raising=False)
    ports = {"jaeger": {"otlp": 1, "otlp-http": 2}}
    for protocol, own, external in (("grpc", 1, 4317), (HTTP, 2, 4318), ("", 1, 4317)):
        monkeypatch.setenv(PROTOCOL, protocol)
        assert _trace_export(ports, "")[ENDPOINT] == f"http://127.0.0.1:{own}"
        assert _trace_export({}, "http://jaeger:16686")[ENDPOINT] == f"http://jaeger:{external}"
        assert _trace_export(ports, "")[PROTOCOL] == (protocol or "grpc")
