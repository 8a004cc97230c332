"""One request is one trace across all processes, as a collector receives it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent import futures

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from tandem.stack import Stack, plan_stack
from tests.conftest import wait_until

pytestmark = pytest.mark.timeout(90)

# The picture's arrows, as (service of the parent span, service of its child).
SERVICE_EDGES = [
    ("tandem-cli", "tandem-gateway"),
    ("tandem-gateway", "tandem-worker"),
    ("tandem-worker", "tandem-insight-generator"),
    ("tandem-worker", "tandem-sufficiency-scorer"),
    ("tandem-worker", "tandem-slm-executor"),
]


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps every span with the name of its service."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, object]] = []

    def Export(self, request, context):  # type: ignore[no-untyped-def]
        for batch in request.resource_spans:
            attributes = {a.key: a.value.string_value for a in batch.resource.attributes}
            for scope in batch.scope_spans:
                self.spans += [(attributes["service.name"], span) for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.fixture(scope="module")
def collector() -> Iterator[tuple[Collector, str]]:
    server, collector = grpc.server(futures.ThreadPoolExecutor(4)), Collector()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield collector, f"http://127.0.0.1:{port}"
    server.stop(0)


@pytest.fixture(scope="module")
def spans(
    environment: None, collector: tuple[Collector, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list]:  # type: ignore[type-arg]
    kept, endpoint = collector
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TANDEM_STATE", str(tmp_path_factory.mktemp("traced")))
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        stack: Stack = plan_stack("scripted")
        stack.up(lambda *_: None)
        try:
            kept.spans.clear()
            command = [
                sys.executable,
                "-c",
                "from tandem.cli import main; main()",
                "ask",
                "[scores=16:0.9 slm_eos=5] secret",
            ]
            subprocess.run(command, check=True, capture_output=True, timeout=60)
            wait_until(lambda: any(span.name == "RunWorkflow:Solve" for _, span in kept.spans))
            wait_until(lambda: not orphans(kept.spans))
            yield list(kept.spans)
        finally:
            stack.down()


def orphans(spans: list) -> list[str]:  # type: ignore[type-arg]
    ids = {span.span_id for _, span in spans}
    return [span.name for _, span in spans if span.parent_span_id and span.parent_span_id not in ids]


def test_there_is_one_trace_with_one_root_and_no_orphan(spans: list) -> None:  # type: ignore[type-arg]
    assert len({span.trace_id for _, span in spans}) == 1
    assert [service for service, span in spans if not span.parent_span_id] == ["tandem-cli"]
    assert orphans(spans) == []


@pytest.mark.parametrize(("parent", "child"), SERVICE_EDGES)
def test_the_trace_has_the_pictures_arrow(spans: list, parent: str, child: str) -> None:  # type: ignore[type-arg]
    owners = {span.span_id: service for service, span in spans}
    edges = {(owners[span.parent_span_id], service) for service, span in spans if span.parent_span_id}
    assert (parent, child) in edges


def test_no_text_of_the_question_is_in_the_trace(spans: list) -> None:  # type: ignore[type-arg]
    assert not [span.name for _, span in spans if "secret" in str(span)]


def test_every_model_has_a_leaf_span_with_its_usage(spans: list) -> None:  # type: ignore[type-arg]
    names = {span.name for _, span in spans if any(a.key == "gen_ai.usage.input_tokens" for a in span.attributes)}
    assert names == {"chat scripted-llm", "chat scripted-slm", "evaluate scripted-slm"}
