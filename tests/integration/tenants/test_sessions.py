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
from services.shared.request_log.sessions import TurnHold
from tandem import Client
from tandem.client import spending
from tests.conftest import Hold
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


async def test_fifty_turns_at_once_cost_no_more_than_their_session_may(
    system: System, http: httpx.AsyncClient, hold: Hold
) -> None:
    most, name = 0.005, uuid4().hex
    headers = {"x-tandem-session": name, "x-tandem-max-session-usd": str(most)}
    script = f"[scores=0:0.9 slm_hold=2:{hold} slm_eos=40]"

    async def ask_one(n: int) -> httpx.Response:
        return await http.post("/v1/chat/completions", json=body(f"{script} {n}"), headers=headers, timeout=120)

    asked = [asyncio.create_task(ask_one(n)) for n in range(50)]
    await until(lambda: running(system, name), lambda held: held > 0)
    held = await running(system, name)
    waiting = asyncio.as_completed(asked)
    refused = [await next(waiting) for _ in range(50 - held)]
    assert await running(system, name) == held
    hold.release()
    served = [await reply for reply in waiting]
    assert {reply.status_code for reply in served} == {200}
    assert {(reply.status_code, reply.json()["error"]["code"]) for reply in refused} == {(429, "session_budget_held")}
    assert {reply.headers["retry-after"] for reply in refused} == {"2"}
    assert "x-should-retry" not in refused[0].headers
    assert 1 <= len(served) < 50
    assert sum(map(bill, served)) <= most
    assert await running(system, name) == 0
    again = await ask(http, body(SAY.format(51)), **headers)
    assert bill(again) > 0


async def running(system: System, session: str) -> int:
    """Turns of the session that hold something."""
    return len(await system.log.sessions.due("", session, datetime.max.replace(tzinfo=UTC)))


async def test_a_turn_that_runs_alone_begins_whatever_it_may_cost_and_another_waits_for_its_end(
    system: System, http: httpx.AsyncClient, hold: Hold
) -> None:
    name = uuid4().hex
    script = f"[scores=0:0.9 slm_hold=2:{hold} slm_eos=4]"
    paid = bill(await ask(http, body(script.replace("hold=", "unheld="))))
    limit = 1.5 * paid  # less than one turn may cost
    headers = {"x-tandem-session": name, "x-tandem-max-session-usd": f"{limit:.9f}"}
    first = asyncio.create_task(ask(http, body(script), **headers))
    await until(lambda: running(system, name), lambda held: held == 1)
    refused = await http.post("/v1/chat/completions", json=body(SAY.format(1)), headers=headers)
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "rate_limit_error")
    hold.release()
    assert paid / 2 < bill(await first) < limit
    await ask(http, body(SAY.format(2)), **headers)  # a serial session goes on until it has cost so much


async def test_a_turn_that_is_cancelled_or_refused_gives_back_what_it_held(
    system: System, http: httpx.AsyncClient
) -> None:
    name = uuid4().hex
    headers = {"x-tandem-session": name, "x-tandem-max-session-usd": "0.004"}
    with pytest.raises(httpx.ReadTimeout):
        await http.post("/v1/chat/completions", json=body("[llm_hold=5]"), headers=headers, timeout=3)
    await until(lambda: running(system, name), lambda held: held == 0)
    await ask(http, body(SAY.format(1)), **headers)
    used = {**headers, "Idempotency-Key": uuid4().hex}
    await ask(http, body(SAY.format(2)), **used)
    reused = await http.post("/v1/chat/completions", json=body("another"), headers=used)
    assert reused.status_code == 409
    assert await running(system, name) == 0


async def test_a_hold_that_a_dead_process_left_stands_in_nobodys_way(system: System, http: httpx.AsyncClient) -> None:
    """Of a turn that never began, of one that has ended without its bill, and of one that runs."""
    name, now = uuid4().hex, datetime.now(UTC)
    headers = {"x-tandem-session": name, "x-tandem-max-session-usd": "0.01"}
    ended = await ask(http, body(SAY.format(1)))
    left = {uuid4().hex: now, ended.headers["x-request-id"]: now, uuid4().hex: now + timedelta(hours=1)}
    sessions = system.log.sessions
    for each, due_at in left.items():
        reserved = await sessions.reserve("", name, TurnHold(each, 3_000_000, due_at), 10_000_000)
        assert reserved.outcome == "OK"
    reply = await ask(http, body(SAY.format(2)), **headers)
    assert await sessions.spent("", name) == pytest.approx(bill(ended) + bill(reply), abs=1e-8)
    assert await running(system, name) == 1  # the one that is not due


async def test_holds_never_exceed_the_limit_whatever_begins_and_ends_at_once(redis_url: str) -> None:
    log, picks = RequestLog(redis_url, timedelta(minutes=5)), random.Random(62)
    sessions, name, most, due = log.sessions, uuid4().hex, 10_000, datetime.now(UTC)
    running: dict[str, int] = {}
    spent = 0

    async def begin(wanted: int) -> None:
        hold = TurnHold(uuid4().hex, wanted, due)
        if (await sessions.reserve("a", name, hold, most)).outcome == "OK":
            running[hold.request_id] = wanted

    for _ in range(60):
        await asyncio.gather(*(begin(picks.randint(1, 3_000)) for _ in range(20)))
        assert len(running) == 1 or spent + sum(running.values()) <= most
        for each in picks.sample(sorted(running), min(len(running), 3)):
            paid = picks.randint(0, running.pop(each)) // 8
            spent += paid
            await asyncio.gather(*(sessions.add("a", name, each, paid) for _ in range(2)))
            again = await sessions.reserve("a", name, TurnHold(each, 1, due), most)
            assert again.outcome == "HELD"  # it has ended
    assert round(await sessions.spent("a", name) * 1e9) == spent
    assert spent > most / 2
    await log.close()


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
