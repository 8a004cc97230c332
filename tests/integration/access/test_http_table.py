"""Every route of the HTTP gateway by every kind of caller: docs/access.md has the table that comes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from tests.integration.access.guarded import CALLERS, Guarded, Names
from tests.integration.access.requests import SENT, reply_to
from tests.integration.edge import routes, serving
from tests.tables import assert_table, rows_by_replies

pytestmark = pytest.mark.asyncio(loop_scope="session")
UNKNOWN = Names.unknown()
NAMING = [
    route
    for route, sent in SENT.items()
    if (sent.path_of(route, UNKNOWN), sent.more(UNKNOWN))
    != (sent.path_of(route, Names.unknown()), sent.more(Names.unknown()))
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def edge(guarded: Guarded) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(guarded.address) as http:
        yield http


async def test_each_caller_is_answered_as_the_documents_say(guarded: Guarded, edge: httpx.AsyncClient) -> None:
    found = []
    for route, sent in SENT.items():
        replies = [
            await reply_to(edge, route, await guarded.names_for(caller, sent.erases), guarded.credentials[caller])
            for caller in CALLERS
        ]
        found.append((f"`{route}`", [str(reply.status_code) for reply in replies]))
    assert_table("access.md", "access by HTTP", [*CALLERS, "routes"], rows_by_replies(found))


async def test_the_table_has_every_route_of_the_app() -> None:
    assert sorted(SENT) == sorted(routes())


@pytest.mark.parametrize("route", NAMING)
async def test_anothers_id_is_answered_exactly_like_an_unknown_one(
    guarded: Guarded, edge: httpx.AsyncClient, route: str
) -> None:
    answers = []
    for names in (guarded.made, UNKNOWN):
        reply = await reply_to(edge, route, names, guarded.credentials["other"])
        answers.append((reply.status_code, names.hidden_in(reply.text)))
    assert answers[0] == answers[1]
    assert answers[0][0] == 404


@pytest.mark.parametrize("route", [route for route in SENT if "/api/" in route])
async def test_a_page_of_another_site_is_refused_whatever_it_sends(
    guarded: Guarded, edge: httpx.AsyncClient, route: str
) -> None:
    """By a reader's browser, which says so."""
    sites = {"sec-fetch-site": "cross-site"}
    assert (await reply_to(edge, route, guarded.made, guarded.credentials["tenant"], **sites)).status_code == 403
