"""What a request did and when, from Temporal's own history of it."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import grpc
import pytest

from tandem import RequestError
from tandem.client.events import InsightDelta, Scored
from tandem.v1 import tandem_pb2
from tests.conftest import Hold
from tests.integration.asking import ended_timeline, idle
from tests.integration.conftest import System

pytestmark = pytest.mark.asyncio(loop_scope="session")
EARLY = "[scores=16:0.9 llm=word_ llm_hold=20 slm=more_ slm_eos=9]"


async def test_a_timeline_has_every_step_with_its_stage_and_times(system: System) -> None:
    result = await system.client.ask(EARLY)
    timeline = await ended_timeline(system, result.request_id)
    steps = {(step.name, step.stage if step.HasField("stage") else None): step for step in timeline.steps}
    assert {("generate_insight", None), ("wait_and_score", 1), ("execute", 1)} <= set(steps)
    writes, scores, answers = (
        steps[key] for key in (("generate_insight", None), ("wait_and_score", 1), ("execute", 1))
    )
    for step in timeline.steps:
        assert step.outcome == tandem_pb2.STEP_OUTCOME_COMPLETED
        assert 0 <= step.scheduled <= step.started <= step.ended <= timeline.duration_ms
        assert step.attempts == 1
    assert scores.ended <= timeline.taken + result.timings_ms.decision <= writes.ended
    assert answers.started >= scores.ended
    assert timeline.duration_ms >= result.timings_ms.total
    assert timeline.request_id == result.request_id


async def test_a_running_request_has_a_step_without_an_end(system: System, hold: Hold) -> None:
    request_id, timeline = uuid4().hex, None
    async for event in system.client.solve(f"[llm_hold=20:{hold} slm_eos=3]", request_id=request_id):
        if timeline is None and isinstance(event, InsightDelta) and event.tokens >= 20:
            timeline = await system.client.timeline(request_id)
            [writes] = [step for step in timeline.steps if step.name == "generate_insight"]
            assert writes.outcome == tandem_pb2.STEP_OUTCOME_RUNNING
            assert not writes.HasField("ended")
            assert not timeline.HasField("duration_ms")
            hold.release()
    assert timeline is not None
    await ended_timeline(system, request_id)


async def test_a_cancelled_step_says_so(system: System) -> None:
    request_id = uuid4().hex
    async for event in system.client.solve("[llm_hold=20 scores=0:0.1,16:0.1]", request_id=request_id):
        if isinstance(event, Scored) and event.stage == 1:
            async with asyncio.timeout(60):
                while not (await outcomes(system, request_id)).get(("wait_and_score", 2)):
                    await asyncio.sleep(0.02)
            await system.client.cancel(request_id)
    await idle(system)
    ended = await outcomes(system, request_id)
    assert ended["wait_and_score", 2] == tandem_pb2.STEP_OUTCOME_CANCELLED
    assert ended["wait_and_score", 1] == tandem_pb2.STEP_OUTCOME_COMPLETED


async def outcomes(system: System, request_id: str) -> dict[tuple[str, int], int]:
    """By name and stage of a step."""
    return {(step.name, step.stage): step.outcome for step in (await system.client.timeline(request_id)).steps}


async def test_nobodys_request_has_no_timeline(system: System) -> None:
    with pytest.raises(RequestError) as refused:
        await system.client.timeline("nobody")
    assert refused.value.code == grpc.StatusCode.NOT_FOUND


async def test_the_list_says_how_long_each_request_took(system: System) -> None:
    result = await system.client.ask(EARLY)
    async with asyncio.timeout(60):  # Temporal lists a request a moment after its end
        while True:
            found = {r.request_id: r for r in (await system.client.list(limit=100)).requests}.get(result.request_id)
            if found and found.HasField("duration_ms"):
                break
            await asyncio.sleep(0.1)
    timeline = await ended_timeline(system, result.request_id)
    assert found.duration_ms == pytest.approx(timeline.duration_ms, abs=5)
