"""Who may call what: every call of the gateway by every kind of caller. docs/security.md has the table that comes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from services.identity.api_keys import ApiKeys
from services.identity.authentication import Authentication
from tandem import Accepted, AsyncClient, Completed, InsightDelta, RequestError
from tandem.keys import KeyFile
from tandem.v1 import tandem_pb2
from tests.integration.asking import idle
from tests.integration.conftest import System, run_system

pytestmark = pytest.mark.asyncio(loop_scope="session")
DOC = Path(__file__).parents[2] / "docs" / "security.md"
CALLERS = ("outsider", "revoked", "tenant", "other", "admin")
QUESTION = "[scores=16:0.9 slm_eos=5] who asks?"
LONG = "[ms=20] a long one"


@dataclass(frozen=True)
class Guarded:
    """A system that asks for API keys. `tenant` has asked the request `asked`, whose id others know."""

    system: System
    keys: KeyFile
    clients: dict[str, AsyncClient]
    asked: str


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def guarded(
    redis_url: str, temporal_address: str, profiles_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Guarded]:
    keys = KeyFile(tmp_path_factory.mktemp("keys") / "keys.json")
    credentials = {"tenant": keys.create("tenant")[1], "other": keys.create("other")[1], "outsider": ""}
    credentials["admin"] = keys.create("ops", ["admin"])[1]
    revoked, credentials["revoked"] = keys.create("tenant")
    keys.revoke(revoked.id)
    authentication = Authentication(ApiKeys(keys.path))
    running = run_system(
        "scripted", profiles_folder, redis_url, temporal_address, authentication=authentication, alias="keys"
    )
    async with running as system:
        clients = {name: AsyncClient(system.client.address, credentials[name]) for name in CALLERS}
        asked = (await clients["tenant"].ask(QUESTION)).request_id
        yield Guarded(system, keys, clients, asked)
        for client in clients.values():
            await client.close()


async def _ask(client: AsyncClient, guarded: Guarded) -> None:
    await client.ask(QUESTION)


async def _ask_for_tenant(client: AsyncClient, guarded: Guarded) -> None:
    await client.ask(QUESTION, tenant="tenant")


async def _follow(client: AsyncClient, guarded: Guarded) -> None:
    async for _ in client.solve_request(tandem_pb2.SolveRequest(request_id=_name(client, guarded))):
        pass


async def _get(client: AsyncClient, guarded: Guarded) -> None:
    await client.get(_name(client, guarded))


async def _timeline(client: AsyncClient, guarded: Guarded) -> None:
    await client.timeline(_name(client, guarded))


async def _cancel(client: AsyncClient, guarded: Guarded) -> None:
    await client.cancel(_name(client, guarded))


async def _delete(client: AsyncClient, guarded: Guarded) -> None:
    asked = (await guarded.clients["tenant"].ask(QUESTION)).request_id
    await client.delete(f"tenant/{asked}" if client is guarded.clients["admin"] else asked)


async def _list(client: AsyncClient, guarded: Guarded) -> None:
    await client.list()


async def _profiles(client: AsyncClient, guarded: Guarded) -> None:
    await client.profiles()


async def _tenants(client: AsyncClient, guarded: Guarded) -> None:
    await client.tenants()


def _name(client: AsyncClient, guarded: Guarded) -> str:
    """An admin names another tenant's request in full."""
    return f"tenant/{guarded.asked}" if client is guarded.clients["admin"] else guarded.asked


CALLS: dict[str, Callable[[AsyncClient, Guarded], Awaitable[None]]] = {
    "ask": _ask,
    "ask in the name of `tenant`": _ask_for_tenant,
    "follow a request of `tenant`": _follow,
    "read a request of `tenant`": _get,
    "read the steps of a request of `tenant`": _timeline,
    "cancel a request of `tenant`": _cancel,
    "delete a request of `tenant`": _delete,
    "list requests": _list,
    "list profiles": _profiles,
    "list tenants": _tenants,
}


async def _outcome(
    call: Callable[[AsyncClient, Guarded], Awaitable[None]], client: AsyncClient, guarded: Guarded
) -> str:
    try:
        await call(client, guarded)
    except RequestError as error:
        return error.code.name
    return "yes"


async def test_each_caller_may_do_what_the_documents_say(guarded: Guarded) -> None:
    rows = ["| call | " + " | ".join(CALLERS) + " |"]
    for name, call in CALLS.items():
        outcomes = [await _outcome(call, guarded.clients[caller], guarded) for caller in CALLERS]
        rows.append(f"| {name} | " + " | ".join(outcomes) + " |")
    documented = [line for line in DOC.read_text().splitlines() if line in rows]
    assert documented == rows, "\n".join(rows)


async def test_the_table_has_every_call_of_the_service() -> None:
    methods = {method.name for method in tandem_pb2.DESCRIPTOR.services_by_name["TandemService"].methods}
    assert methods == {
        "Solve",
        "GetRequest",
        "GetTimeline",
        "CancelRequest",
        "DeleteRequest",
        "ListRequests",
        "ListProfiles",
        "ListTenants",
    }


async def test_anothers_id_is_answered_like_an_unknown_one(guarded: Guarded) -> None:
    other = guarded.clients["other"]
    messages = []
    for request_id in (guarded.asked, uuid4().hex):
        for call in (other.get, other.timeline, other.cancel):
            with pytest.raises(RequestError) as refused:
                await call(request_id)
            messages.append((refused.value.code, str(refused.value).replace(request_id, "ID"), refused.value.reason))
    assert len(set(messages)) == 1


async def test_two_tenants_use_one_id_for_two_requests(guarded: Guarded) -> None:
    tenant, other = guarded.clients["tenant"], guarded.clients["other"]
    request_id = uuid4().hex
    one = await tenant.ask("[scores=16:0.9 slm_eos=5] mine", request_id=request_id)
    two = await other.ask("[scores=16:0.9 slm_eos=7] yours", request_id=request_id)
    assert [one.request_id, two.request_id] == [request_id, request_id]
    assert [one.question, two.question] != [one.question, one.question]
    assert (await tenant.get(request_id)).result.question == one.question
    assert (await other.get(request_id)).result.question == two.question


async def test_a_list_has_ones_own_requests_alone(guarded: Guarded) -> None:
    other = guarded.clients["other"]
    mine = (await other.ask(QUESTION)).request_id
    for where in ("", 'tenant = "tenant" or tenant = "other"', "stage >= 0 or stage < 0"):
        rows = (await other.list(where, limit=1000)).requests
        assert {row.tenant for row in rows} <= {"other"}, where
    while mine not in {row.request_id for row in (await other.list(limit=1000)).requests}:
        pass  # Temporal lists a request a moment after it was started
    rows = (await guarded.clients["admin"].list(limit=1000)).requests
    assert {"tenant", "other"} <= {row.tenant for row in rows}
    assert f"tenant/{guarded.asked}" in {row.request_id for row in rows}


async def test_an_admin_asks_for_a_tenant_who_then_owns_the_request(guarded: Guarded) -> None:
    admin, tenant = guarded.clients["admin"], guarded.clients["tenant"]
    request_id = uuid4().hex
    result = await admin.ask(QUESTION, tenant="tenant", request_id=request_id)
    assert result.request_id == f"tenant/{request_id}"
    assert (await tenant.get(request_id)).result.cost.usd == result.cost.usd


async def test_an_admin_that_leaves_stops_what_it_asked_for_a_tenant(guarded: Guarded) -> None:
    admin = guarded.clients["admin"]
    async with aclosing(admin.solve(LONG, tenant="tenant")) as stream:
        accepted = await anext(stream)
        assert isinstance(accepted, Accepted)
        async for event in stream:
            if isinstance(event, InsightDelta):
                break
    await idle(guarded.system)
    assert accepted.request_id.startswith("tenant/")


async def test_a_key_that_is_revoked_is_refused_at_its_next_call_and_its_request_goes_on(guarded: Guarded) -> None:
    key, credential = guarded.keys.create("tenant")
    async with AsyncClient(guarded.system.client.address, credential) as client:
        stream = client.solve("[ms=5 scores=16:0.9 slm_eos=5]")
        await anext(stream)
        guarded.keys.revoke(key.id)
        with pytest.raises(RequestError) as refused:
            await client.profiles()
        assert refused.value.code.name == "UNAUTHENTICATED"
        assert [event async for event in stream if isinstance(event, Completed)]
