"""One request is one trace across all processes, as an OTLP collector receives it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.conftest import wait_until
from tests.e2e.collector import attributes, orphans
from tests.e2e.conftest import LocalStack

pytestmark = pytest.mark.timeout(600)

# The edges of the architecture: (service of the parent span, service of the child span).
SERVICE_EDGES = [
    ("tandem-cli", "tandem-gateway"),
    ("tandem-gateway", "tandem-worker"),
    ("tandem-worker", "tandem-insight-generator"),
    ("tandem-worker", "tandem-sufficiency-scorer"),
    ("tandem-worker", "tandem-slm-executor"),
]


@pytest.fixture(scope="module")
def asked(running: LocalStack) -> tuple[dict[str, Any], list[tuple[str, Any]]]:
    """The result of one `tandem ask` and all spans of its trace."""
    running.heal()
    command = [
        sys.executable,
        "-c",
        "from tandem.cli import main; main()",
        "ask",
        "--json",
        "[scores=16:0.9 slm_eos=5] secret",
    ]
    done = subprocess.run(command, check=True, capture_output=True, timeout=60, text=True)
    result = json.loads(done.stdout)

    def is_complete() -> bool:
        spans = running.collector.of_trace(result["trace_id"])
        return any(span.name == "RunWorkflow:Solve" for _, span in spans) and not orphans(spans)

    wait_until(is_complete)
    return result, running.collector.of_trace(result["trace_id"])


def test_there_is_one_trace_with_one_root_and_no_orphan(running: LocalStack, asked: Any) -> None:
    result, spans = asked
    others = [s for _, s in running.collector.spans if attributes(s).get("tandem.request.id") == result["request_id"]]
    assert {span.trace_id.hex() for span in others} == {result["trace_id"]}
    assert [service for service, span in spans if not span.parent_span_id] == ["tandem-cli"]
    assert orphans(spans) == []


@pytest.mark.parametrize(("parent", "child"), SERVICE_EDGES)
def test_the_trace_has_each_edge_of_the_architecture(asked: Any, parent: str, child: str) -> None:
    spans = asked[1]
    owners = {span.span_id: service for service, span in spans}
    assert (parent, child) in {(owners[span.parent_span_id], service) for service, span in spans if span.parent_span_id}


def test_the_trace_contains_no_text_of_the_question(asked: Any) -> None:
    assert not [span.name for _, span in asked[1] if "secret" in str(span)]


def test_leaf_spans_have_costs_and_the_gateways_span_has_the_totals(running: LocalStack, asked: Any) -> None:
    result, spans = asked
    leaves = {span.name for _, span in spans if "gen_ai.usage.cost.amount" in attributes(span)}
    assert leaves == {"chat scripted-llm", "chat scripted-slm", "evaluate scripted-slm", "prefill scripted-slm"}
    [total] = [
        attributes(s)["tandem.cost.total"]
        for service, s in spans
        if service == "tandem-gateway" and "tandem.cost.total" in attributes(s)
    ]
    sums = running.collector.leaf_sums(result["trace_id"])
    assert sums["gen_ai.usage.cost.amount"] == pytest.approx(total) == pytest.approx(result["cost"]["usd"])
