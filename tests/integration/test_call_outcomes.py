"""What the gateway counts of its calls, by how they end for their callers, who notice where no worker does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from uuid import uuid4

import grpc
import pytest
from prometheus_client import REGISTRY

from services.gateway.workers import Patience
from services.shared.observability.availability import Outcome
from tandem import RequestError
from tandem.client.request import solve_request
from tandem.method.names import solve_queue
from tandem.v1 import tandem_pb2_grpc
from tests.conftest import Hold
from tests.integration.asking import ask
from tests.integration.conftest import System

pytestmark = pytest.mark.asyncio(loop_scope="session")


def counts(profile: str = "scripted") -> dict[Outcome, float]:
    labels = [{"profile": profile, "outcome": str(outcome)} for outcome in Outcome]
    found = [REGISTRY.get_sample_value("tandem_gateway_requests_total", each) or 0.0 for each in labels]
    return dict(zip(Outcome, found, strict=True))


def more(before: Mapping[Outcome, float]) -> set[Outcome]:
    return {outcome for outcome, count in counts().items() if count > before[outcome]}


async def test_an_answer_is_counted_with_its_time(system: System) -> None:
    before, timed = counts(), "tandem_gateway_answer_seconds_count"
    times = REGISTRY.get_sample_value(timed, {"profile": "scripted"}) or 0.0
    await ask(system, "[slm_eos=5] counted?")
    assert more(before) == {Outcome.ANSWERED}
    assert REGISTRY.get_sample_value(timed, {"profile": "scripted"}) == times + 1


async def test_what_is_the_callers_fault_breaks_no_promise(system: System) -> None:
    before = counts()
    with pytest.raises(RequestError):
        await ask(system, "[slm_eos=5]", threshold=7.0)
    assert more(before) == {Outcome.REFUSED}


async def test_a_profile_that_nobody_serves_is_no_label(system: System) -> None:
    before = counts("unknown")
    with pytest.raises(RequestError):
        await ask(system, "[slm_eos=5]", profile=f"no-{uuid4().hex}")
    assert counts("unknown")[Outcome.REFUSED] == before[Outcome.REFUSED] + 1


async def test_a_request_that_no_worker_takes_fails_where_no_worker_can_count_it(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, request_id = counts(), uuid4().hex
    short = Patience(*[Patience().new / 10] * 3)
    monkeypatch.setattr(system.service._workflows.workers, "_patience", short)
    queue = solve_queue(f"nobodys-{request_id}")
    for module in ("temporal", "workers"):
        monkeypatch.setattr(f"services.gateway.{module}.solve_queue", lambda profile: queue)
    with pytest.raises(RequestError, match="no worker"):
        await ask(system, "[slm_eos=5]", request_id=request_id)
    assert more(before) == {Outcome.FAILED}
    await system.temporal.get_workflow_handle(request_id).terminate()


async def test_a_caller_who_leaves_is_told_from_one_who_waited_for_as_long_as_it_could(
    system: System, hold: Hold
) -> None:
    stub = tandem_pb2_grpc.TandemServiceStub(system.client._channel)
    for seconds, outcome in ((None, Outcome.LEFT), (2.0, Outcome.FAILED)):
        before = counts()
        call = stub.Solve(solve_request(f"[llm_hold=5:{hold} slm_eos=5] {outcome}?"), timeout=seconds)
        await call.read()
        if seconds is None:
            call.cancel()
        with suppress(grpc.aio.AioRpcError, asyncio.CancelledError):
            while await call.read() is not grpc.aio.EOF:
                pass
        async with asyncio.timeout(30):
            while not more(before):
                await asyncio.sleep(0.01)
        assert more(before) == {outcome}
    hold.release()
