"""How tests ask the gateway."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from services.shared.request_log.log import RequestLog
from tandem import Event, to_dict
from tandem.v1 import tandem_pb2
from tests.integration.conftest import System

BOUND_SECONDS = 120.0
RESULT_KEYS = {
    "request_id", "profile", "question", "answer", "reasoning", "stop", "stages", "usage", "cost", "timings_ms",
    "trace_id", "attempts",
}  # fmt: skip


def changed(system: System, monkeypatch: pytest.MonkeyPatch, **execution: Any) -> None:
    """Change the section `execution` of the system's profile."""
    admission = system.service._admission
    profile = admission.profiles[admission.default]  # of one mapping, which the policies read too
    section = profile.execution.model_copy(update=execution)
    monkeypatch.setitem(admission.profiles, profile.name, profile.model_copy(update={"execution": section}))


async def ask(system: System, question: str, **options: Any) -> dict[str, Any]:
    return to_dict(await asyncio.wait_for(system.client.ask(question, **options), BOUND_SECONDS))


async def events(system: System, question: str, **options: Any) -> list[Event]:
    return [event async for event in system.client.solve(question, **options)]


def kinds(seen: list[Event]) -> list[str]:
    return [event.kind for event in seen]


def generated(usage: dict[str, Any]) -> int:
    """Generated tokens, in any state."""
    return int(usage["output_tokens"] + usage["overrun_tokens"] + usage["discarded_tokens"])


async def shadow_of(system: System, request_id: str) -> dict[str, Any]:
    """The request's shadow, once there is one."""
    deadline = time.monotonic() + BOUND_SECONDS
    while time.monotonic() < deadline:
        found = await system.client.get(request_id)
        if found.HasField("shadow"):
            return to_dict(found.shadow)
        await asyncio.sleep(0.02)
    raise AssertionError("the request has no shadow")


async def idle(system: System) -> None:
    """Until no engine runs a sequence."""
    deadline = time.monotonic() + BOUND_SECONDS
    while not system.idle():
        assert time.monotonic() < deadline, f"still running: {system.llm.running} {system.slm.running}"
        await asyncio.sleep(0.01)


async def ended_timeline(system: System, request_id: str) -> tandem_pb2.GetTimelineResponse:
    """The timeline once the workflow has ended, which is a moment after its caller has the result."""
    async with asyncio.timeout(BOUND_SECONDS):
        while not (timeline := await system.client.timeline(request_id)).HasField("duration_ms"):
            await asyncio.sleep(0.02)
    return timeline


async def forget(log: RequestLog, request_id: str) -> None:
    """Delete what Redis knows of one request, as if it had lost its memory; other tests' requests stay."""
    await log._connection.redis.delete(*await log._connection.redis.keys(f"{{{request_id}}}:*"))
