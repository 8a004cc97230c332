"""Who may cancel a request, what a cancel stops, and what it cannot change."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import grpc
import pytest

from services.gateway.chores import cancel_orphans
from services.gateway.event_stream import EventStream, PositionedEvent
from services.gateway.readers import Limits
from services.shared.identity.caller import ANONYMOUS, set_caller
from services.shared.request_log.decisions import RESULT_SLOT
from tandem import Completed, InsightDelta, RequestError, to_dict
from tandem.client.request import solve_request
from tandem.method.request.result import SolveResult, StopReason
from tandem.v1 import tandem_pb2
from tests.conftest import Hold
from tests.integration.asking import ask, generated, idle
from tests.integration.conftest import System

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_cancel_aborts_either_model_and_the_bill_is_whole(system: System) -> None:
    for question, role in (
        ("[llm_hold=5]", "insight_delta"),
        ("[slm_hold=5 scores=0:0.9 slm_eos=500]", "answer_delta"),
    ):
        request_id, last, is_cancelled = uuid4().hex, None, False
        async for event in system.client.solve(question, request_id=request_id):
            if event.kind == role and not is_cancelled:
                is_cancelled = True
                assert (await system.client.cancel(request_id)).state == tandem_pb2.REQUEST_STATE_RUNNING
            last = event
        assert last is not None
        assert last.result.stop.reason == tandem_pb2.STOP_REASON_CANCELLED
        assert last.result.cost.usd > 0
        assert system.idle()
        assert (await system.client.get(request_id)).state == tandem_pb2.REQUEST_STATE_CANCELLED
        assert (await system.client.cancel(request_id)).state == tandem_pb2.REQUEST_STATE_CANCELLED


async def test_a_workflow_cancelled_in_temporal_ends_with_its_bill(system: System) -> None:
    request_id, last, is_cancelled = uuid4().hex, None, False
    async for event in system.client.solve("[llm_hold=5]", request_id=request_id):
        if isinstance(event, InsightDelta) and not is_cancelled:
            is_cancelled = True
            await system.temporal.get_workflow_handle(request_id).cancel()
        last = event
    assert last is not None
    assert last.result.stop.reason == tandem_pb2.STOP_REASON_CANCELLED
    assert generated(to_dict(last.result.usage.llm)) >= 1
    assert system.idle()


async def test_a_client_that_goes_away_cancels_its_request(system: System) -> None:
    request = solve_request("[llm_hold=5]", request_id=uuid4().hex)
    call = system.client._stub.Solve(request)
    async for event in call:
        if event.HasField("insight_delta"):
            break
    call.cancel()
    await idle(system)
    result = await stored(system, request.request_id)
    assert result.stop.reason is StopReason.CANCELLED
    assert result.usage["llm"].prompt > 0
    assert (result.cost.usd > 0, result.cost.saved_ratio) == (True, None)


async def test_a_reader_that_hangs_up_does_not_cancel_a_request_that_somebody_else_detached(
    system: System, hold: Hold
) -> None:
    request_id, question = uuid4().hex, f"[llm_hold=5:{hold} slm_eos=5]"
    for keep_running in (True, False):  # who made it, and somebody who only looks
        call = system.client._stub.Solve(solve_request(question, request_id=request_id, keep_running=keep_running))
        async for event in call:
            if event.HasField("insight_delta"):
                break
        call.cancel()
        await asyncio.sleep(0.5)  # longer than the disconnect grace
    hold.release()
    assert (await stored(system, request_id)).stop.reason is StopReason.BEST_STAGE


async def test_a_request_that_goes_on_without_a_reader_counts_towards_the_limit(
    system: System, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system.service._readers, "_limits", Limits(1, timedelta(milliseconds=200)))
    request = solve_request(f"[llm_hold=5:{hold} slm_eos=5]", request_id=uuid4().hex, keep_running=True)
    call = system.client._stub.Solve(request)
    await anext(aiter(call))
    call.cancel()
    readers = system.service._readers
    while not (readers._unread and readers._places.total() == 1):
        await asyncio.sleep(0.01)
    with pytest.raises(RequestError) as refused:
        await ask(system, "why?")
    assert refused.value.reason == "TOO_MANY_REQUESTS"
    hold.release()
    await stored(system, request.request_id)
    while readers._unread:
        await asyncio.sleep(0.01)
    assert (await ask(system, "[scores=0:0.9 slm_eos=5]"))["answer"]


async def test_a_gateway_that_starts_cancels_what_a_dead_one_left_unread(
    system: System, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, readers = {}, system.service._readers
    for name in ("left", "detached", "read"):
        request = solve_request(
            f"[llm_hold=5:{hold} slm_eos=5]", request_id=uuid4().hex, keep_running=name == "detached"
        )
        calls[request.request_id] = call = system.client._stub.Solve(request)
        await call.read()
    left, detached, read = calls
    monkeypatch.setattr(readers, "_is_draining", True)  # as one that dies does nothing for a reader that leaves
    for request_id in (left, detached):
        calls[request_id].cancel()
    while readers._places.total() > 1:
        await asyncio.sleep(0.01)
    await system.log._connection.redis.delete(f"{{{left}}}:watchers", f"{{{detached}}}:watchers")  # the leases ran out
    now = timedelta(0)
    while len(await system.service._workflows.visibility.running_since_before(datetime.now(UTC))) < len(calls):
        await asyncio.sleep(0.05)  # Temporal lists them a moment later
    await cancel_orphans(system.service._workflows, system.log, datetime.now(UTC), now, now)
    assert (await stored(system, left)).stop.reason is StopReason.CANCELLED
    hold.release()
    for request_id in (detached, read):
        assert (await stored(system, request_id)).stop.reason is StopReason.BEST_STAGE
    for call in calls.values():
        call.cancel()


async def test_a_request_whose_stream_breaks_does_not_run_on(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    request_id = uuid4().hex

    async def broken(stream: EventStream) -> list[PositionedEvent]:
        raise RuntimeError("broken")

    monkeypatch.setattr(EventStream, "_news", broken)
    with pytest.raises(RequestError) as caught:
        await system.client.ask("[llm_hold=5]", request_id=request_id)
    assert caught.value.code is grpc.StatusCode.INTERNAL
    assert (await stored(system, request_id)).stop.reason is StopReason.CANCELLED


async def test_workflows_of_others_cannot_be_reached(system: System) -> None:
    """A namespace may be shared with other applications."""
    foreign = await system.temporal.start_workflow("Payroll", id=uuid4().hex, task_queue="nobody")
    for asked in (system.client.get(foreign.id), system.client.cancel(foreign.id), read(system, "", foreign.id)):
        with pytest.raises(RequestError) as caught:
            await asked
        assert (caught.value.code, caught.value.reason) == (grpc.StatusCode.NOT_FOUND, "UNKNOWN_REQUEST")
    with pytest.raises(RequestError) as reused:
        await read(system, "why?", foreign.id)
    assert reused.value.reason == "REQUEST_ID_REUSED"
    events = [event.WhichOneof("attributes") async for event in foreign.fetch_history_events()]
    assert "workflow_execution_signaled_event_attributes" not in events
    await foreign.terminate()


async def read(system: System, question: str, request_id: str) -> None:
    async for _ in system.client.solve_request(tandem_pb2.SolveRequest(question=question, request_id=request_id)):
        pass


class WithoutDeadline:
    """What the service asks of gRPC's context."""

    def time_remaining(self) -> None:
        return None


async def test_a_client_that_has_its_result_and_hangs_up_cancels_nothing(system: System) -> None:
    set_caller(ANONYMOUS)
    of_others = set(system.service._readers._pending)
    stream = system.service.Solve(solve_request("[scores=0:0.9 slm_eos=5]", request_id=uuid4().hex), WithoutDeadline())
    async with aclosing(stream):  # closed where gRPC closes it when the client leaves while the result is sent
        async for event in stream:
            if event.HasField("completed"):
                break
    assert system.service._readers._pending <= of_others


async def test_leaving_the_clients_stream_early_cancels_at_once(system: System) -> None:
    request_id = uuid4().hex
    async with aclosing(system.client.solve("[llm_hold=5]", request_id=request_id)) as stream:
        async for event in stream:
            if isinstance(event, InsightDelta):
                break
    await idle(system)
    assert (await stored(system, request_id)).stop.reason is StopReason.CANCELLED


async def test_the_first_published_result_is_final(system: System, hold: Hold) -> None:
    """A cancel may come after the result is published and before Temporal has recorded it; the last step runs again."""
    earlier = await ask(system, "[scores=16:0.9 slm_eos=5]")
    published = await stored(system, earlier["request_id"])
    request_id = uuid4().hex
    question, final = f"[llm_eos=21 llm_hold=10:{hold}]", replace(published, request_id=request_id)
    async with aclosing(system.client.solve(question, request_id=request_id, keep_running=True)) as stream:
        await anext(stream)
        await system.log.decisions.publish(request_id, RESULT_SLOT, final)
        hold.release()
        assert await stored(system, request_id) == final


async def stored(system: System, request_id: str) -> SolveResult:
    """The result that Temporal has."""
    return await system.temporal.get_workflow_handle(request_id, result_type=SolveResult).result()


async def test_a_cancel_after_the_end_changes_nothing(system: System) -> None:
    for _ in range(5):
        result = await ask(system, "[scores=16:0.9 slm_eos=5]")
        response = await system.client.cancel(result["request_id"])
        assert response.state == tandem_pb2.REQUEST_STATE_COMPLETED
        assert (await stored(system, result["request_id"])).stop.reason is StopReason.SUFFICIENT


async def test_a_client_that_has_its_answer_cancels_nothing(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    cancelled: list[str] = []

    async def note(request_id: str) -> None:
        cancelled.append(request_id)

    monkeypatch.setattr(system.client, "cancel", note)
    async with aclosing(system.client.solve("[scores=16:0.9 slm_eos=5]")) as stream:
        async for event in stream:
            if isinstance(event, Completed):
                break
    assert not cancelled
