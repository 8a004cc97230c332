"""A deleted request is unknown everywhere, and only one that has ended can be deleted."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import grpc
import pytest
from redis.asyncio import Redis

from services.gateway.temporal import AdmittedRequest
from tandem import RequestError
from tandem.method.errors import NotFound
from tests.conftest import Hold
from tests.integration.asking import BOUND_SECONDS, ask, shadow_of
from tests.integration.conftest import System

pytestmark = pytest.mark.asyncio(loop_scope="session")
QUESTION = "[scores=16:0.9 slm_eos=5]"


async def keys_of(redis_url: str, request_id: str) -> list[bytes]:
    async with Redis.from_url(redis_url) as redis:
        return [key async for key in redis.scan_iter(f"*{request_id}*")]


async def is_known(system: System, request_id: str) -> bool:
    try:
        await system.client.get(request_id)
    except RequestError as error:
        if error.code == grpc.StatusCode.NOT_FOUND:
            return False
        raise
    return True


async def has_shadow(system: System, request_id: str) -> bool:
    return await system.service._workflows.shadow(request_id) is not None


async def deleted(system: System, request_id: str) -> None:
    """Wait until Temporal has deleted the request and its shadow: in the background, in no order."""
    async with asyncio.timeout(BOUND_SECONDS):
        while await is_known(system, request_id) or await has_shadow(system, request_id):
            await asyncio.sleep(0.2)


async def test_a_deleted_request_and_its_shadow_are_nowhere(shadowed_system: System, redis_url: str) -> None:
    request_id = (await ask(shadowed_system, QUESTION))["request_id"]
    await shadow_of(shadowed_system, request_id)
    assert await keys_of(redis_url, request_id)
    await shadowed_system.client.delete(request_id)
    assert await keys_of(redis_url, request_id) == []
    await deleted(shadowed_system, request_id)
    for call in (shadowed_system.client.cancel, shadowed_system.client.delete):
        with pytest.raises(RequestError, match="there is no request"):
            await call(request_id)


async def test_a_deletion_reaches_no_other_request_whatever_its_name(system: System) -> None:
    request_id = uuid4().hex
    others = [f"{request_id}.shadow", f"{request_id}.1", f"{request_id}-shadow"]
    for name in (request_id, *others):
        await ask(system, QUESTION, request_id=name)
    await system.client.delete(request_id)
    await deleted(system, request_id)
    for name in others:
        assert (await system.client.get(name)).result.answer


async def test_a_request_that_temporal_loses_as_it_is_asked_again_runs_anew(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id, join_own = uuid4().hex, system.workflows.join_own
    first, before = await ask(system, QUESTION, request_id=request_id), system.llm.counters.output_tokens

    async def joins_what_is_erased(*asked: str) -> AdmittedRequest:
        await system.client.delete(request_id)
        await deleted(system, request_id)
        return await join_own(*asked)

    monkeypatch.setattr(system.workflows, "join_own", joins_what_is_erased)
    assert (await ask(system, QUESTION, request_id=request_id))["answer"] == first["answer"]
    assert system.llm.counters.output_tokens > before


async def test_the_end_of_a_request_that_temporal_has_lost_is_not_waited_for(system: System) -> None:
    with pytest.raises(NotFound, match="there is no request"):
        await system.workflows.result(uuid4().hex)


async def test_a_running_request_is_not_deleted(system: System, hold: Hold) -> None:
    request_id = uuid4().hex
    asked = asyncio.create_task(ask(system, f"[llm_hold=24:{hold} scores=32:0.9 slm_eos=5]", request_id=request_id))
    async with asyncio.timeout(BOUND_SECONDS):
        while not system.llm.running:
            await asyncio.sleep(0.01)
    with pytest.raises(RequestError, match="cancel it first"):
        await system.client.delete(request_id)
    hold.release()
    assert (await asked)["answer"]
