"""For any mix of requests, however they end: the sum of the bills is what the engines have counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from itertools import product
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from services.shared.request_log.connection import Role
from services.shared.request_log.streams import StreamWriter
from tandem import RequestError, to_dict
from tandem.method.errors import RequestLogUnavailable
from tests.integration.asking import BOUND_SECONDS, ask, forget, generated
from tests.integration.conftest import System, run_system

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]

SCRIPTS = st.builds(
    "[ms={ms} scores={at}:0.9 slm_eos={slm} llm_eos={llm}{fail}]".format_map,
    st.fixed_dictionaries(
        {
            "ms": st.sampled_from([1, 3]),
            "at": st.sampled_from([0, 16, 32, 48, 999]),
            "slm": st.integers(1, 40),
            "llm": st.sampled_from([1, 15, 16, 17, 40, 1000]),
            "fail": st.sampled_from(["", "", "", " fail=score"]),
        }
    ),
)
ENDS = st.one_of(st.none(), st.integers(0, 30))
"""Of a request: None follows it to its end, a number leaves after so many events."""


async def bill(system: System, script: Any, leave_after: int | None, **options: Any) -> dict[str, Any]:
    request_id, seen = uuid4().hex, 0
    with suppress(RequestError):
        async with aclosing(system.client.solve(script, request_id=request_id, **options)) as events:
            async for _ in events:
                seen += 1
                if leave_after is not None and seen > leave_after:
                    break
    deadline = time.monotonic() + BOUND_SECONDS
    while time.monotonic() < deadline:
        with suppress(RequestError):  # it was left before it was started
            found = await system.client.get(request_id)
            if found.HasField("result"):
                return to_dict(found.result)
        await asyncio.sleep(0.02)
    raise AssertionError(f"request {request_id} has no bill")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def system(redis_url: str, temporal_address: str, profiles_folder: Path) -> AsyncIterator[System]:
    """A system that no other test asks: its engines count what these tests ask, and no more."""
    async with run_system("scripted", profiles_folder, redis_url, temporal_address, alias="bills") as running:
        yield running


def computed(system: System) -> dict[str, tuple[int, int]]:
    """(prompt, generated) tokens that the engines have counted, by role."""
    engines = {"llm": system.llm, "slm": system.slm}
    return {role: (e.counters.input_tokens, e.counters.output_tokens) for role, e in engines.items()}


def fail_once(monkeypatch: pytest.MonkeyPatch, role: Role, tokens: int, fault: Callable[[], Awaitable[None]]) -> None:
    """Before the write of `tokens` or more of the role the `fault` comes, and Redis does not answer."""
    append, failures = StreamWriter._append, []

    async def failing(writer: StreamWriter, *entry: Any) -> None:
        if writer._writes.role is role and writer.tokens >= tokens and not failures:
            failures.append(writer)
            await fault()
            raise RequestLogUnavailable("the request log does not answer")
        await append(writer, *entry)

    monkeypatch.setattr(StreamWriter, "_append", failing)


def of_engines(result: dict[str, Any], role: str) -> tuple[int, int]:
    usage = result["usage"][role]
    return usage["input_tokens"], generated(usage)


@pytest.mark.parametrize("role", ["llm", "slm"])
async def test_a_redis_that_comes_back_with_an_older_memory_makes_no_bill_smaller(
    system: System, redis_url: str, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    request_id, before = uuid4().hex, computed(system)
    async with Redis.from_url(redis_url) as redis:

        async def restore_the_beginning() -> None:
            """As a restart with the last snapshot does: epoch and prompt are known, and no token."""
            state = f"{{{request_id}}}:state"
            name = "insight" if role == "llm" else "answer"
            await redis.delete(f"{{{request_id}}}:{name}", *([f"{{{request_id}}}:stages"] if role == "llm" else []))
            await redis.hset(
                state, mapping={f"{name}:{field}": 0 for field in ("tokens", "seq", "stage", "stage_tokens", "input")}
            )

        writer = Role.INSIGHT if role == "llm" else Role.ANSWER
        fail_once(monkeypatch, writer, 10, restore_the_beginning)
        question = "[scores=48:0.9 slm_eos=20 ms=5]" if role == "llm" else "[scores=0:0.9 slm_eos=20 ms=5]"
        result = await ask(system, question, request_id=request_id)
    now = computed(system)
    assert of_engines(result, role) == tuple(b - a for a, b in zip(before[role], now[role], strict=True))


async def test_an_answer_without_its_insight_bills_what_was_lost_with_it(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id, before = uuid4().hex, computed(system)

    async def lose_all() -> None:
        await forget(system.log, request_id)

    fail_once(monkeypatch, Role.ANSWER, 10, lose_all)
    result = await ask(system, "[scores=16:0.9 slm_eos=20 ms=5]", request_id=request_id)
    assert any("does without the insight" in note for note in result["notes"])
    now = computed(system)
    assert of_engines(result, "slm") == tuple(b - a for a, b in zip(before["slm"], now["slm"], strict=True))


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(mix=st.lists(st.tuples(SCRIPTS, ENDS), min_size=1, max_size=6))
async def test_bills_add_up_to_what_the_engines_counted(system: System, mix: list[tuple[str, int | None]]) -> None:
    engines = {"llm": system.llm, "slm": system.slm}
    before = {role: (e.counters.input_tokens, e.counters.output_tokens) for role, e in engines.items()}
    scored = system.judge.counters.scored_tokens
    bills = await asyncio.gather(*(bill(system, *request) for request in mix))
    for role, engine in engines.items():
        usage = [b["usage"][role] for b in bills]
        completion = sum(u["output_tokens"] + u["overrun_tokens"] + u["discarded_tokens"] for u in usage)
        prompt = sum(u["input_tokens"] for u in usage)
        assert (prompt, completion) == (
            engine.counters.input_tokens - before[role][0],
            engine.counters.output_tokens - before[role][1],
        )
    assert sum(b["usage"]["scorer"]["input_tokens"] for b in bills) == system.judge.counters.scored_tokens - scored
    for b in bills:
        cost = b["cost"]
        assert cost["usd"] == pytest.approx(sum(cost["usd_by_role"].values()), abs=1e-15)
        assert cost["usd_overrun"] <= cost["usd_by_role"]["llm"]


async def test_bills_of_calls_add_up_to_what_the_engines_counted(system: System) -> None:
    """Calls of either model, cut, failed, and left in their middle."""
    before, call = computed(system), '<call>w_{"at":_"Rome"}</call>'
    text = f"slm={call} slm_eos={len(call) + 1} llm={call} llm_eos={len(call) + 1}"
    scripts = [
        f"[{text}]",
        f"[slm=No. slm_eos=4 llm={call}{call} llm_eos=61]",
        f"[{text} ms=3 fail=llm]",
    ]
    tools = [{"name": "w", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}}]
    mix = product(scripts, (None, 3, 12), ({}, {"max_llm_tokens": 0}))
    bills = await asyncio.gather(
        *(
            bill(system, [{"role": "user", "content": script}], leave, tools=tools, **by_whom)
            for script, leave, by_whom in mix
        )
    )
    now = computed(system)
    for role in ("llm", "slm"):
        billed = [of_engines(each, role) for each in bills]
        assert tuple(map(sum, zip(*billed, strict=True))) == tuple(
            b - a for a, b in zip(before[role], now[role], strict=True)
        )
