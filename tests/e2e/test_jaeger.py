"""`tandem up --jaeger` and `tandem trace cost` against a real Jaeger; `make jaeger` builds one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest

from tandem import RequestError
from tandem.jaeger import TraceError, fetch_trace
from tandem.paths import find_binary
from tandem.stack import plan_stack
from tests.conftest import wait_until
from tests.e2e.collector import Collector
from tests.e2e.conftest import LocalStack
from tests.e2e.test_local_stack import tandem

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(find_binary("jaeger") is None, reason="no jaeger binary: `make jaeger` builds one"),
]


@pytest.fixture(scope="module")
def traced(environment: None, collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TANDEM_STATE", str(tmp_path_factory.mktemp("jaeger")))
        patch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")
        stack = plan_stack("scripted", jaeger=True)
        stack.up(lambda *_: None)
        yield LocalStack(stack, collector)
        stack.down()


def adds_up(local: LocalStack, trace_id: str) -> bool:
    with suppress(TraceError):
        return fetch_trace(local.stack.jaeger, trace_id).adds_up
    return False


def kill_and_start(local: LocalStack, component: str) -> None:
    local.kill(component)
    local.start(component)


@pytest.mark.parametrize(
    ("question", "reason", "victim"),
    [
        ("[scores=16:0.9 slm_eos=5]", "sufficient", ""),
        ("[slm_eos=5]", "best_stage", ""),
        ("[fail=llm slm_eos=5]", "llm_unavailable", ""),
        ("[llm_eos=20]", "llm_finished", ""),
        ("[ms=30 slm_eos=9 scores=48:0.9]", "sufficient", "insight-generator"),
        ("[ms=30 scores=0:0.9 slm_eos=40]", "sufficient", "slm-executor"),
    ],
)
def test_what_jaeger_shows_adds_up_to_the_bill(traced: LocalStack, question: str, reason: str, victim: str) -> None:
    traced.heal()
    request_id, result, is_killed = uuid4().hex, None, not victim
    for event in traced.client.solve(question, request_id=request_id):
        if not is_killed and max(event.insight_delta.tokens, event.answer_delta.tokens) > 20:
            is_killed = True
            kill_and_start(traced, victim)
        result = event.completed
    assert result is not None
    wait_until(lambda: adds_up(traced, result.trace_id), 15)
    done = tandem("trace", "cost", request_id)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"bill {result.cost.usd:.8f} USD" in done.stdout
    assert " = " in done.stdout
    if victim:
        assert "lost with its process" in done.stdout


def test_a_cancelled_request_adds_up_too(traced: LocalStack) -> None:
    request_id = uuid4().hex
    for event in traced.client.solve("[ms=20]", request_id=request_id):
        if event.insight_delta.tokens == 5:
            break  # leaving cancels
    found: Any = None
    wait_until(lambda: traced.client.get(request_id).HasField("result"), 15)
    found = traced.client.get(request_id).result
    wait_until(lambda: adds_up(traced, found.trace_id), 15)
    shown = json.loads(tandem("trace", "cost", "--json", found.trace_id).stdout)
    assert shown["adds_up"]
    assert shown["total_usd"] == pytest.approx(found.cost.usd)


def test_a_bill_without_an_answer_is_whole_in_jaeger(traced: LocalStack) -> None:
    request_id = uuid4().hex
    with pytest.raises(RequestError):
        traced.client.ask("[fail=slm scores=16:0.9]", request_id=request_id)
    bill = traced.client.get(request_id).result.cost.usd
    trace_id = traced.client.get(request_id).result.trace_id
    wait_until(lambda: abs(fetch_trace(traced.stack.jaeger, trace_id).leaf_usd - bill) < 1e-12, 15)


def test_the_answer_comes_with_a_link_to_its_trace(traced: LocalStack) -> None:
    done = tandem("ask", "[scores=0:0.9 slm_eos=5]")
    assert f"{traced.stack.jaeger}/trace/" in done.stdout


def test_a_trace_that_jaeger_does_not_have_says_why(traced: LocalStack) -> None:
    done = tandem("trace", "cost", "f" * 32)
    assert done.returncode == 1
    assert "has no trace" in done.stderr
