"""`tandem up --jaeger` and `tandem trace cost` against a real Jaeger; `make tools TOOLS=jaeger` builds one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import format_trace_id

from tandem import AnswerDelta, Completed, InsightDelta, RequestError
from tandem.local.layout import StackError
from tandem.local.planning import plan_stack
from tandem.paths import find_binary
from tandem.tracing.jaeger import TraceError, fetch_trace
from tandem.tracing.otlp import HTTP, span_exporter
from tandem.v1 import tandem_pb2
from tests.conftest import Hold, wait_until
from tests.e2e.collector import Collector
from tests.e2e.conftest import LocalStack
from tests.e2e.test_local_stack import tandem
from tests.e2e.test_trace import SERVICE_EDGES
from tests.stacks import start_stack

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(find_binary("jaeger") is None, reason="no jaeger binary: `make tools TOOLS=jaeger` builds one"),
]


@pytest.fixture(scope="module")
def traced(environment: None, collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TANDEM_STATE", str(tmp_path_factory.mktemp("jaeger")))
        patch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")
        stack = start_stack("scripted", jaeger=True)
        yield LocalStack(stack, collector)
        stack.down()


def adds_up(local: LocalStack, trace_id: str) -> bool:
    with suppress(TraceError):
        return fetch_trace(local.stack.jaeger, trace_id).adds_up
    return False


def kill_and_start(local: LocalStack, component: str, hold: Hold) -> None:
    """The model that waited goes on; nothing is tried again before the process is ready."""
    with local.without_retries():
        local.kill(component)
        hold.release()
        local.start(component)
        local.wait_until_ready(component)


@pytest.mark.parametrize(
    ("question", "reason", "victim"),
    [
        ("[scores=16:0.9 slm_eos=5]", "sufficient", ""),
        ("[slm_eos=5]", "best_stage", ""),
        ("[fail=llm slm_eos=5]", "llm_unavailable", ""),
        ("[llm_eos=20]", "llm_finished", ""),
        ("[llm_hold=24:{hold} slm_eos=9 scores=48:0.9]", "sufficient", "insight-generator"),
        ("[slm_hold=24:{hold} scores=0:0.9 slm_eos=40]", "sufficient", "slm-executor"),
    ],
)
def test_the_leaf_spans_in_jaeger_sum_to_the_bill(
    traced: LocalStack, hold: Hold, question: str, reason: str, victim: str
) -> None:
    traced.heal()
    request_id, result, is_killed = uuid4().hex, None, not victim
    for event in traced.client.solve(question.format(hold=hold), request_id=request_id):
        if not is_killed and isinstance(event, InsightDelta | AnswerDelta) and event.tokens >= 24:
            is_killed = True
            kill_and_start(traced, victim, hold)
        if isinstance(event, Completed):
            result = event.result
    assert result is not None
    assert result.stop.reason == tandem_pb2.StopReason.Value(f"STOP_REASON_{reason.upper()}")
    wait_until(lambda: adds_up(traced, result.trace_id))
    done = tandem("trace", "cost", request_id)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"bill {result.cost.usd:.8f} USD" in done.stdout
    assert " = " in done.stdout
    if victim:
        assert "lost with its process" in done.stdout


def test_the_leaf_spans_of_a_cancelled_request_sum_to_the_bill(traced: LocalStack) -> None:
    request_id = uuid4().hex
    for event in traced.client.solve("[llm_hold=5]", request_id=request_id):
        if isinstance(event, InsightDelta) and event.tokens == 5:
            break  # leaving cancels
    found: Any = None
    wait_until(lambda: traced.client.get(request_id).HasField("result"))
    found = traced.client.get(request_id).result
    wait_until(lambda: adds_up(traced, found.trace_id))
    shown = json.loads(tandem("trace", "cost", "--json", found.trace_id).stdout)
    assert shown["adds_up"]
    assert shown["total_usd"] == pytest.approx(found.cost.usd)


def test_the_leaf_spans_of_a_failed_request_sum_to_the_bill(traced: LocalStack) -> None:
    request_id = uuid4().hex
    with pytest.raises(RequestError):
        traced.client.ask("[fail=slm scores=16:0.9]", request_id=request_id)
    bill = traced.client.get(request_id).result.cost.usd
    trace_id = traced.client.get(request_id).result.trace_id
    wait_until(lambda: abs(fetch_trace(traced.stack.jaeger, trace_id).leaf_usd - bill) < 1e-12)


def test_ask_prints_a_link_to_the_trace(traced: LocalStack) -> None:
    done = tandem("ask", "-v", "[scores=0:0.9 slm_eos=5]")
    assert f"{traced.stack.jaeger}/trace/" in done.stdout


@pytest.fixture(scope="module")
def asked(traced: LocalStack) -> Any:
    """The trace of one `tandem ask` in Jaeger."""
    traced.heal()
    result = json.loads(tandem("ask", "--json", "--tenant", "acme", "[scores=16:0.9 llm_hold=20 slm_eos=5]").stdout)
    wait_until(lambda: adds_up(traced, result["trace_id"]))
    wait_until(lambda: len(fetch_trace(traced.stack.jaeger, result["trace_id"]).roots) == 1)
    return fetch_trace(traced.stack.jaeger, result["trace_id"])


@pytest.mark.parametrize(("parent", "child"), SERVICE_EDGES)
def test_jaeger_has_each_edge_of_the_architecture(asked: Any, parent: str, child: str) -> None:
    edges = {(span.service, below.service) for _, span in asked.spans() for below in span.children}
    assert (parent, child) in edges


def test_the_root_span_has_tenant_and_cost_bucket(asked: Any) -> None:
    assert asked.tag("tandem.tenant.id") == "acme"
    assert ".." in asked.tag("tandem.cost.bucket")


def test_the_spans_of_the_models_say_what_the_genai_conventions_ask_for(asked: Any) -> None:
    chats = {span.tags["tandem.role"]: span.tags for _, span in asked.spans() if span.name.startswith("chat ")}
    for tags in chats.values():
        assert (tags["gen_ai.operation.name"], tags["gen_ai.provider.name"]) == ("chat", "tandem")
        assert tags["span.kind"] == "internal"  # a process of ours runs the model
        assert tags["gen_ai.request.stream"] is True
        assert tags["gen_ai.response.model"] == tags["gen_ai.request.model"]
        assert tags["gen_ai.response.time_to_first_chunk"] > 0
    stopped, answered = chats["llm"], chats["slm"]
    assert (stopped["gen_ai.response.finish_reasons"], stopped["error.type"]) == ('["error"]', "cancelled")
    assert answered["gen_ai.response.finish_reasons"] != '["error"]'
    assert "error.type" not in answered


def test_trace_cost_sums_the_last_requests_by_tenant(traced: LocalStack, asked: Any) -> None:
    rows = json.loads(tandem("trace", "cost", "--last", "50", "--by", "tenant", "--json").stdout)
    [acme] = [row for row in rows if row["tenant"] == "acme"]
    assert acme["requests"] == acme["add up"] == 1
    assert acme["USD"] == pytest.approx(asked.total_usd)
    assert "acme" in tandem("trace", "cost", "--last", "50").stdout


def test_trace_cost_draws_a_trace(traced: LocalStack, asked: Any, tmp_path: Path) -> None:
    assert tandem("trace", "cost", asked.id, "--svg", str(tmp_path / "tree.svg")).returncode == 0
    assert "chat" in (tmp_path / "tree.svg").read_text()


def test_up_uses_the_jaeger_that_the_environment_names(traced: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_JAEGER", traced.stack.jaeger)
    stack = plan_stack("scripted", jaeger=True)
    assert "jaeger" not in stack.ports
    assert stack.jaeger == traced.stack.jaeger
    monkeypatch.setenv("TANDEM_JAEGER", "http://127.0.0.1:9")
    with pytest.raises(StackError, match="TANDEM_JAEGER"):
        plan_stack("scripted", jaeger=True)


def test_trace_cost_explains_an_unknown_trace(traced: LocalStack) -> None:
    done = tandem("trace", "cost", "f" * 32)
    assert done.returncode == 1
    assert "has no trace" in done.stderr


def test_jaeger_takes_spans_by_http(traced: LocalStack) -> None:
    """Phoenix and Langfuse take them no other way."""
    provider = TracerProvider()
    endpoint = f"http://127.0.0.1:{traced.stack.ports['jaeger']['otlp-http']}"
    provider.add_span_processor(SimpleSpanProcessor(span_exporter(HTTP, 10, endpoint)))
    with provider.get_tracer("t").start_as_current_span("by http") as span:
        trace_id = format_trace_id(span.get_span_context().trace_id)
    provider.shutdown()

    def has_it() -> bool:
        with suppress(TraceError):
            return [each.name for _, each in fetch_trace(traced.stack.jaeger, trace_id).spans()] == ["by http"]
        return False

    wait_until(has_it)
