"""Turns of one conversation are a session: named or recognised, with a sum that counts each bill once, and a limit."""

from __future__ import annotations

import asyncio
import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from redis.asyncio import Redis

from services.shared.request_log.log import RequestLog
from tandem import Client
from tandem.client import spending
from tests.integration.conftest import System
from tests.integration.tenants.limiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")
SAY = "[scores=0:0.9 slm_eos=4] {}"


def body(*said: str, system: str = "Be brief.", **more: Any) -> dict[str, Any]:
    turns = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(said)]
    return {"model": "scripted", "messages": [{"role": "system", "content": system}, *turns], **more}


async def ask(http: httpx.AsyncClient, given: dict[str, Any], **headers: str) -> httpx.Response:
    reply = await http.post("/v1/chat/completions", json=given, headers=headers)
    assert reply.status_code == 200, reply.text
    return reply


def bill(reply: httpx.Response) -> float:
    return float(reply.headers["x-tandem-cost-usd"])


async def test_each_reply_says_what_its_session_has_cost_with_this_turn(http: httpx.AsyncClient) -> None:
    named = {"x-tandem-session": uuid4().hex}
    paid = 0.0
    for n in range(3):
        reply = await ask(http, body(SAY.format(n)), **named)
        paid += bill(reply)
        assert reply.headers["x-tandem-session"] == named["x-tandem-session"]
        assert float(reply.headers["x-tandem-session-usd"]) == pytest.approx(paid, abs=1e-9)
    streamed = await ask(http, body(SAY.format(4), stream=True), **named)
    assert float(streamed.headers["x-tandem-session-usd"]) == pytest.approx(paid, abs=1e-9)  # before the turn


async def test_a_session_is_named_as_clients_name_it(http: httpx.AsyncClient) -> None:
    uuid = str(uuid4())
    names = [
        ({"metadata": {"session": "a-name"}}, "a-name"),
        ({"tandem": {"session": "own"}, "metadata": {"session": "a-name"}}, "own"),
        ({"prompt_cache_key": "key-1"}, "key-1"),
        ({"user": json.dumps({"device_id": "d", "session_id": uuid})}, uuid),
        ({"user": f"user_0_account__session_{uuid}"}, uuid),
    ]
    for more, name in names:
        assert (await ask(http, body(SAY.format("x"), **more))).headers["x-tandem-session"] == name
    strange = (await ask(http, body(SAY.format("x"), prompt_cache_key="not a name!"))).headers["x-tandem-session"]
    assert strange.startswith("named-")


async def test_a_session_that_nobody_names_is_known_by_the_users_first_turn(http: httpx.AsyncClient) -> None:
    begun = SAY.format(uuid4().hex)
    turns = [[begun], [begun, "Yes.", SAY.format("Go on.")]]
    replies = [await ask(http, body(*said, system=f"It is turn {n}.")) for n, said in enumerate(turns)]
    first, second = (reply.headers["x-tandem-session"] for reply in replies)
    assert first == second
    assert first.startswith("begun-")
    other = await ask(http, body(SAY.format(uuid4().hex)))
    assert other.headers["x-tandem-session"] != first


async def test_a_session_that_has_cost_its_limit_begins_no_further_turn_and_cuts_none(http: httpx.AsyncClient) -> None:
    headers = {"x-tandem-session": uuid4().hex, "x-tandem-max-session-usd": "0.00000001"}
    key = {"Idempotency-Key": uuid4().hex}
    first = await ask(http, body(SAY.format(1)), **headers, **key)  # nothing had been spent; it is not cut
    assert bill(first) > 1e-8
    refused = await http.post("/v1/chat/completions", json=body(SAY.format(2)), headers=headers)
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["type"]) == (400, "session_budget_spent", "invalid_request_error")
    assert "max_session_usd" in error["message"]
    again = await ask(http, body(SAY.format(1)), **headers, **key)  # an ended turn is read, as before
    assert again.json()["choices"] == first.json()["choices"]
    raised = await ask(http, body(SAY.format(2)), **{**headers, "x-tandem-max-session-usd": "1"})
    assert bill(raised) > 0
    wrong = await http.post(
        "/v1/chat/completions", json=body("x"), headers={**headers, "x-tandem-max-session-usd": "a"}
    )
    assert wrong.status_code == 400


async def test_a_session_counts_each_ended_request_once_and_exactly(system: System, http: httpx.AsyncClient) -> None:
    name = uuid4().hex
    began = datetime.now(UTC)
    replies = await asyncio.gather(*(ask(http, body(SAY.format(n)), **{"x-tandem-session": name}) for n in range(8)))
    paid = sum(map(bill, replies))
    assert await system.log.sessions.spent("", name) == pytest.approx(paid, abs=1e-8)
    known = replies[0].headers["x-request-id"]
    await system.log.sessions.add("", name, known, 10**9)  # a settlement that is repeated
    assert await system.log.sessions.spent("", name) == pytest.approx(paid, abs=1e-8)
    assert await system.log.sessions.spent("another", name) == 0

    def summed() -> Any:
        with Client(system.client.address) as client:
            return spending.spending(client, began, ["session"]).get((name,), spending.Sum())

    found = await until(lambda: asyncio.to_thread(summed), lambda found: found.requests - found.open == 8)
    assert found.usd == pytest.approx(paid)


async def test_the_running_total_is_the_sum_of_the_bills_whatever_is_repeated_at_once_or_was_added_before(
    redis_url: str,
) -> None:
    log, redis = RequestLog(redis_url, timedelta(minutes=5)), Redis.from_url(redis_url)
    sessions, picks = log.sessions, random.Random(51)
    bills = {uuid4().hex: picks.randrange(3 * 10**9) for _ in range(500)}
    again = picks.sample(sorted(bills), 200)
    for name, before in (("new", {}), ("begun before totals", {uuid4().hex: 7, uuid4().hex: 11})):
        if before:  # as a worker without the total writes them
            await redis.zadd(f"{{tenant:a}}:session:{name}", before)
        repeated = [*bills, *again]
        picks.shuffle(repeated)
        for lot in (repeated[n : n + 50] for n in range(0, len(repeated), 50)):
            await asyncio.gather(*(sessions.add("a", name, each, bills[each]) for each in lot))
        for each in again:
            await sessions.add("a", name, each, 10**9)
        assert round(await sessions.spent("a", name) * 1e9) == sum(bills.values()) + sum(before.values())
    commands = int((await redis.info("commandstats"))["cmdstat_zrangebyscore"]["calls"])
    await sessions.spent("a", "new")
    assert int((await redis.info("commandstats"))["cmdstat_zrangebyscore"]["calls"]) == commands  # reads no bills
    await asyncio.gather(log.close(), redis.aclose())
