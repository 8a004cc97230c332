"""What a client reads: events in time, in pieces, from where it was, and once for a repeated id."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import grpc
import pytest
from temporalio.client import WorkflowHandle

from tandem import AnswerDelta, InsightDelta, RequestError, StageCompleted
from tandem.client.request import solve_request
from tandem.v1 import tandem_pb2
from tests.conftest import Hold
from tests.integration.asking import ask, events, generated
from tests.integration.conftest import System

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_events_arrive_while_the_work_goes_on(system: System, hold: Hold) -> None:
    """The large model waits at its fifth token until the client has read one of them."""
    seen = []
    async for event in system.client.solve(f"[llm_hold=5:{hold} slm_eos=5]"):
        seen.append(event)
        if isinstance(event, InsightDelta):
            hold.release()
    assert seen[-1].result.stop.reason == tandem_pb2.STOP_REASON_BEST_STAGE


async def test_an_end_that_temporals_long_poll_misses_is_asked_for_again(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id = (await system.client.ask("[scores=0:0.9 slm_eos=5]")).request_id
    whole, polls = WorkflowHandle.result, []

    async def misses_once(handle: WorkflowHandle[Any, Any]) -> Any:
        polls.append(handle.id)
        return await (whole(handle) if len(polls) > 1 else asyncio.Event().wait())

    monkeypatch.setattr(WorkflowHandle, "result", misses_once)
    monkeypatch.setattr("services.gateway.temporal._POLL_SECONDS", 0.05)
    assert (await system.service._workflows.result(request_id)).request_id == request_id
    assert len(polls) > 1


async def test_text_that_comes_faster_than_it_is_sent_is_sent_in_larger_deltas(system: System) -> None:
    seen = await events(system, "[ms=1 slm_eos=60]")
    result = seen[-1].result
    answer = [e for e in seen if isinstance(e, AnswerDelta)]
    insight = [e for e in seen if isinstance(e, InsightDelta)]
    assert len(answer) < 30
    assert "".join(delta.text for delta in answer) == result.reasoning
    assert answer[-1].tokens == 60 == result.usage.slm.output_tokens
    ends = [e.tokens for e in seen if isinstance(e, StageCompleted)]
    assert set(ends) <= {delta.tokens for delta in insight}  # a stage never ends inside a delta


async def test_a_client_that_comes_back_reads_on_from_where_it_was(system: System, hold: Hold) -> None:
    request = solve_request(f"[llm_hold=20:{hold} slm_eos=20]", request_id=uuid4().hex, keep_running=True)
    call, insight = system.client._stub.Solve(request), ""
    async for event in call:
        insight += event.insight_delta.text
        request.resume_after = event.cursor
        if len(insight) >= 10:
            break
    call.cancel()
    hold.release()
    seen = [event async for event in system.client._stub.Solve(request)]
    insight += "".join(event.insight_delta.text for event in seen)
    assert insight == "x" * 48
    assert seen[-1].completed.stop.reason == tandem_pb2.STOP_REASON_BEST_STAGE


async def test_a_repeated_request_id_joins_and_is_billed_once(system: System) -> None:
    request_id, before = uuid4().hex, system.llm.counters.output_tokens
    question = "[ms=5 slm_eos=5]"
    first, second = await asyncio.gather(*(ask(system, question, request_id=request_id) for _ in range(2)))
    third = await ask(system, question, request_id=request_id)
    assert first == second == third
    assert system.llm.counters.output_tokens - before == generated(first["usage"]["llm"])
    for other in (
        {"question": "another question"},
        {"tenant": "another"},
        {"max_cost_usd": 1.0},
        {"temperature": 0.5},
        {"seed": 3},
        {"threshold": 0.9},
        {"max_answer_tokens": 9},
    ):
        with pytest.raises(RequestError) as caught:
            await ask(system, **{"question": question, "request_id": request_id, **other})
        assert caught.value.reason == "REQUEST_ID_REUSED", other


@pytest.mark.parametrize("cursor", ["-1.0.0", "1.2", "1.2.3.4", "a.b.c", "+1.0.0", "1_0.0.0", "٣.0.0", f"{2**64}.0.0"])
async def test_a_bad_cursor_is_refused_before_any_work(system: System, cursor: str) -> None:
    request = solve_request("[slm_eos=5]", request_id=uuid4().hex)
    request.resume_after = cursor
    with pytest.raises(grpc.RpcError) as refused:
        [_ async for _ in system.client._stub.Solve(request)]
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(RequestError) as unknown:
        await system.client.get(request.request_id)
    assert unknown.value.reason == "UNKNOWN_REQUEST"
