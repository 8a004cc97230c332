"""The bill of a request: its limit, its sum, and that of many at once."""

from __future__ import annotations

import asyncio

import pytest

from lab.bench.request_load import ACTIONS
from tests.integration.asking import ask, generated
from tests.integration.conftest import System

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("limit", [0.0006, 0.0008, 0.002])
async def test_a_bill_stays_within_its_limit(system: System, limit: float) -> None:
    result = await ask(system, "[slm_eos=500]", max_cost_usd=limit)
    assert result["cost"]["usd"] <= limit
    assert result["stop"]["reason"] in ("budget", "best_stage")


async def test_the_bill_adds_up(system: System) -> None:
    result = await ask(system, "[scores=16:0.9 slm_eos=9]")
    usage, cost = result["usage"], result["cost"]
    assert sum(cost["usd_by_role"].values()) == pytest.approx(cost["usd"])
    llm = usage["llm"]
    assert cost["usd_by_role"]["llm"] == pytest.approx((llm["input_tokens"] * 3 + generated(llm) * 6) / 1e6)
    assert cost["tflops_full"] > cost["tflops_paper"] > 0
    assert cost["saved_ratio"] == pytest.approx(1 - cost["usd"] / cost["usd_llm_alone"])


@pytest.mark.parametrize("question", ["[scores=16:0.9 slm_eos=9]", "[slm_eos=3]", "[llm_eos=40 slm_eos=3]"])
async def test_the_bill_has_the_actions_that_temporal_bills(system: System, question: str) -> None:
    result = await ask(system, question)
    handle = system.temporal.get_workflow_handle(result["request_id"])
    await handle.result()  # which comes after the client's
    history = await handle.fetch_history()
    overhead, size = result["overhead"], len(history.to_json())
    assert overhead["temporal_actions"] == sum(event.event_type in ACTIONS for event in history.events)
    assert len(history.events) - 8 < overhead["temporal_events"] < len(history.events)
    assert 0 < overhead["history_bytes"] < size


async def test_scoring_a_later_stage_computes_only_its_new_tokens(system: System) -> None:
    result = await ask(system, "[slm_eos=3]")
    scorer = result["usage"]["scorer"]
    assert scorer["input_tokens"] < scorer["cached_input_tokens"]


async def test_concurrent_requests_are_billed_for_what_the_engines_counted(system: System) -> None:
    before = system.llm.counters.output_tokens, system.slm.counters.output_tokens
    questions = [f"[ms=2 scores={16 * (1 + i % 3)}:0.9 slm_eos={5 + i}] {i}" for i in range(16)]
    results = await asyncio.gather(*(ask(system, q) for q in questions))
    assert sum(generated(r["usage"]["llm"]) for r in results) == system.llm.counters.output_tokens - before[0]
    assert sum(generated(r["usage"]["slm"]) for r in results) == system.slm.counters.output_tokens - before[1]
    # By request: a pass of a request that another test left may still come, after the models are idle.
    scored = {r["request_id"]: r["usage"]["scorer"]["input_tokens"] for r in results}
    assert scored == {request: system.judge.scored_for[request] for request in scored}
