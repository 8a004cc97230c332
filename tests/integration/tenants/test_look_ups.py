"""What is answered from what there is takes turns of its own, keeps to a pace, and is not admitted again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import grpc
import pytest

from services.shared.identity.turns import LookUps, Pace
from tandem import AsyncClient, RequestError, to_dict
from tandem.client.request import solve_request
from tandem.v1 import tandem_pb2
from tests.integration.asking import BOUND_SECONDS
from tests.integration.tenants.limiting import BRIEF, Limited, refused, served, until

pytestmark = pytest.mark.asyncio(loop_scope="session")
UNKNOWN = "nobody-has-asked-this"


async def _joined(client: AsyncClient) -> object:
    return [event async for event in client.solve_request(tandem_pb2.SolveRequest(request_id=UNKNOWN))]


LOOK_UPS: dict[str, Callable[[AsyncClient], Awaitable[object]]] = {
    "get": lambda client: client.get(UNKNOWN),
    "cancel": lambda client: client.cancel(UNKNOWN),
    "delete": lambda client: client.delete(UNKNOWN),
    "timeline": lambda client: client.timeline(UNKNOWN),
    "join": _joined,
    "list": lambda client: client.list(),
    "count tokens": lambda client: client.count_tokens(solve_request("how long?")),
    "outcome": lambda client: client.report(UNKNOWN, True),
    "batches": lambda client: client.batches.list(),
    "batch": lambda client: client.batches.get("batch_nobody"),
    "files": lambda client: client.batches.files(),
    "file": lambda client: client.batches.file("file-nobody"),
}
"""By anonymous callers, who are one tenant."""


@asynccontextmanager
async def look_ups_of(limited: Limited, look_ups: LookUps) -> AsyncIterator[None]:
    """In place of the gateway's own."""
    service, before = limited.system.service, limited.system.service.look_ups
    own = before._turns, before._pace
    before._turns, before._pace = look_ups._turns, look_ups._pace
    try:
        yield
    finally:
        service.look_ups._turns, service.look_ups._pace = own


async def outcome_of(asked: Awaitable[object]) -> object:
    try:
        return await asked
    except RequestError as error:
        return error.code


@pytest.mark.parametrize("name", LOOK_UPS)
async def test_a_look_up_waits_for_its_tenants_turn(limited: Limited, name: str) -> None:
    look_ups = LookUps(1, keeps_pace=False)
    async with look_ups_of(limited, look_ups):
        async with look_ups.turn(""):
            asked = asyncio.create_task(outcome_of(LOOK_UPS[name](limited.system.client)))

            async def waiting() -> int:
                return len(look_ups._turns._waiting[""])

            await until(waiting, bool)
            # Another tenant's is served meanwhile, and so is a request that begins.
            assert (await asyncio.wait_for(served(limited, limited.tenant()), BOUND_SECONDS))["answer"]
            assert not asked.done()
        assert await asyncio.wait_for(asked, BOUND_SECONDS) != grpc.StatusCode.UNAVAILABLE


async def test_what_a_gateway_knows_by_itself_waits_for_no_turn(limited: Limited) -> None:
    """By it an HTTP gateway finds whether this one answers."""
    look_ups = LookUps(1, keeps_pace=False)
    async with look_ups_of(limited, look_ups), look_ups.turn(""):
        assert (await asyncio.wait_for(limited.system.client.profiles(), BOUND_SECONDS)).profiles


async def test_a_tenant_that_looks_up_too_often_is_told_when_to_ask_again_and_others_are_served(
    limited: Limited,
) -> None:
    look_ups = LookUps(4, keeps_pace=True)
    look_ups._pace = Pace(per_minute=1)
    loud, quiet = limited.tenant(), limited.tenant()
    ids = {tenant: (await served(limited, tenant))["request_id"] for tenant in (loud, quiet)}
    async with look_ups_of(limited, look_ups):
        for number in range(3):
            if number:
                error = await refused(limited.system.client, BRIEF, tenant=loud, request_id=ids[loud])
                assert (error.reason, error.metadata["limit"]) == ("RATE_LIMIT_EXCEEDED", "calls_per_minute")
                assert error.retry_after_s
                assert error.retry_after_s > 30
            else:
                await served(limited, loud, request_id=ids[loud])
        assert (await served(limited, quiet, request_id=ids[quiet]))["request_id"] == ids[quiet]


async def test_a_finished_request_is_answered_without_being_admitted_again(
    limited: Limited, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant, request_id = limited.tenant(requests_per_minute=1), uuid4().hex
    first = await served(limited, tenant, request_id=request_id)
    service = limited.system.service

    def admitted(*_: Any, **__: Any) -> Any:
        raise AssertionError("it was admitted again")

    with monkeypatch.context() as patch:
        patch.setattr(service._admission, "admit", admitted)
        patch.setattr(service._workflows, "start_or_join", admitted)
        for _ in range(3):
            assert await served(limited, tenant, request_id=request_id) == first
        other = await refused(limited.system.client, f"{BRIEF} another one", tenant=tenant, request_id=request_id)
    assert other.reason == "REQUEST_ID_REUSED"
    assert (await limited.standing(tenant)).requests_per_minute == 1


async def test_a_request_that_the_log_has_forgotten_is_joined_all_the_same(limited: Limited) -> None:
    tenant, request_id = limited.tenant(), uuid4().hex
    first = await served(limited, tenant, request_id=request_id)
    await limited.system.log.forget(f"{request_id}")
    found = to_dict(await limited.system.client.ask(BRIEF, tenant=tenant, request_id=request_id))
    assert found["answer"] == first["answer"]
