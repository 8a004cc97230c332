"""Every call of the gateway by every kind of caller: docs/access.md has the table that comes of it."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from tandem.v1 import tandem_pb2
from tests.conftest import Hold
from tests.integration.access.calls import CALLS, CURSORS, METHODS, Call, Reply, reply_to
from tests.integration.access.guarded import CALLERS, Guarded, Names
from tests.tables import assert_table, rows_by_replies

pytestmark = pytest.mark.asyncio(loop_scope="session")
NAMING = [call for call in (*CALLS, *CURSORS) if call.names_something]


async def test_each_caller_may_call_what_the_documents_say(guarded: Guarded) -> None:
    found = []
    for call in CALLS:
        replies = [
            await reply_to(guarded, caller, call, await guarded.names_for(caller, call.erases)) for caller in CALLERS
        ]
        found.append((f"{call.words} (`{call.method}`)", [str(reply) for reply in replies]))
    assert_table("access.md", "access by gRPC", [*CALLERS, "calls"], rows_by_replies(found))


async def test_the_table_has_every_method_of_the_public_services() -> None:
    assert {call.method for call in CALLS} == set(METHODS)


async def test_a_call_of_every_method_with_an_id_is_made_with_another_tenants() -> None:
    with_ids = {
        name for name, method in METHODS.items() if any(field.name.endswith("_id") for field in method.request.fields)
    }
    assert with_ids <= {call.method for call in NAMING}


@pytest.mark.parametrize("call", NAMING, ids=str)
async def test_anothers_id_is_answered_exactly_like_an_unknown_one(guarded: Guarded, call: Call) -> None:
    """Also where it is written with the name of its tenant, as an admin does."""
    for tenant in ("", "tenant"):
        known = await _hidden_reply(guarded, call, guarded.made, tenant)
        unknown = await _hidden_reply(guarded, call, Names.unknown(), tenant)
        assert known == unknown
        assert str(known) in ("NOT_FOUND", "INVALID_ARGUMENT")


async def test_what_another_tenant_tries_changes_nothing(guarded: Guarded, hold: Hold) -> None:
    """A request that runs goes on, and nothing is erased."""
    runs, tenant = uuid4().hex, guarded.clients["tenant"]
    asked = tandem_pb2.SolveRequest(request_id=runs, question=f"[llm_hold=5:{hold}]", keep_running=True)
    messages = tenant.messages(asked)
    await anext(messages)
    tried = replace(guarded.made, request=runs)
    for call in NAMING:
        assert str(await reply_to(guarded, "other", call, tried)) == "NOT_FOUND", call
    assert (await tenant.get(runs)).state == tandem_pb2.REQUEST_STATE_RUNNING
    for call in NAMING:
        if not call.erases:
            assert str(await reply_to(guarded, "tenant", call, guarded.made)) == "yes", call
    await tenant.cancel(runs)
    hold.release()
    async for _ in messages:
        pass


async def test_a_list_has_ones_own_files_and_batches_alone(guarded: Guarded) -> None:
    for caller, expected in (("tenant", True), ("other", False), ("admin", False)):
        client = guarded.clients[caller].batches
        files = {file.file_id for file in (await client.files(limit=1000)).files}
        listed = {batch.batch_id for batch in (await client.list(limit=100)).batches}
        assert (guarded.made.file in files, guarded.made.batch in listed) == (expected, expected), caller


async def _hidden_reply(guarded: Guarded, call: Call, names: Names, tenant: str) -> Reply:
    reply = await reply_to(guarded, "other", call, names.within(tenant) if tenant else names)
    return replace(reply, message=names.hidden_in(reply.message))
