"""A real OTLP collector that stores the spans it receives."""

from __future__ import annotations

from concurrent import futures
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """`spans` has (service name, span) in the order of arrival."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Any]] = []
        self._server = grpc.server(futures.ThreadPoolExecutor(4))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self._server)
        self.endpoint = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        self._server.stop(0)

    def Export(self, request: Any, context: Any) -> Any:
        for batch in request.resource_spans:
            service = attributes(batch.resource)["service.name"]
            for scope in batch.scope_spans:
                self.spans += [(service, span) for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()

    def of_trace(self, trace_id: str) -> list[tuple[str, Any]]:
        return [(service, span) for service, span in self.spans if span.trace_id.hex() == trace_id]

    def leaf_sums(self, trace_id: str) -> dict[str, float]:
        """Sums of tokens and USD over the leaf spans of a trace."""
        leaves = [attributes(span) for _, span in self.of_trace(trace_id)]
        names = ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "gen_ai.usage.cost.amount")
        return {name: sum(leaf.get(name, 0) for leaf in leaves) for name in names}


def attributes(carrier: Any) -> dict[str, Any]:
    """Of a span or a resource."""
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in carrier.attributes}


def orphans(spans: list[tuple[str, Any]]) -> list[str]:
    """Names of spans whose parent is not among `spans`."""
    ids = {span.span_id for _, span in spans}
    return [span.name for _, span in spans if span.parent_span_id and span.parent_span_id not in ids]
