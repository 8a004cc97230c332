"""Tenants take turns before Temporal: a flood waits where waiting costs nothing."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from services.shared.identity import turns as module
from services.shared.identity.turns import Turn, Turns
from tandem.method.errors import LimitReached


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class _Caller:
    """One request, which holds its turn until it is told to end."""

    def __init__(self, turns: Turns, tenant: str, begun: list[str]) -> None:
        self.has_shown_work = asyncio.Event()
        self._is_over, self._turns, self.tenant, self._begun = asyncio.Event(), turns, tenant, begun
        self.turn: Turn | None = None
        self.task = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        async with self._turns.turn(self.tenant, sign=self._shows_work) as self.turn:
            self._begun.append(self.tenant)
            await self._is_over.wait()

    async def _shows_work(self) -> None:
        await self.has_shown_work.wait()

    async def end(self) -> None:
        self._is_over.set()
        await self.task
        await _settled()


async def _settled() -> None:
    """Until every task that can run has run."""
    for _ in range(5):
        await asyncio.sleep(0)


async def _asked(turns: Turns, tenant: str, number: int, begun: list[str]) -> list[_Caller]:
    callers = [_Caller(turns, tenant, begun) for _ in range(number)]
    await _settled()
    return callers


async def _end(callers: list[_Caller]) -> None:
    for caller in callers:
        caller.task.cancel()
    await asyncio.gather(*(caller.task for caller in callers), return_exceptions=True)


async def test_of_a_flood_no_more_begin_than_may_and_the_next_when_one_ends() -> None:
    begun: list[str] = []
    loud = await _asked(Turns(4), "loud", 120, begun)
    assert len(begun) == 4
    await loud[0].end()
    assert len(begun) == 5
    await _end(loud)


async def test_a_tenant_with_no_turn_begins_at_once_whatever_another_has() -> None:
    begun: list[str] = []
    turns = Turns(4)
    loud = await _asked(turns, "loud", 120, begun)
    quiet = await _asked(turns, "quiet", 1, begun)
    assert begun.count("quiet") == 1
    await _end(loud + quiet)


async def test_a_flood_has_only_its_share_while_another_tenant_is_here() -> None:
    begun: list[str] = []
    clock = _Clock()
    turns = Turns(4, clock)
    loud = await _asked(turns, "loud", 120, begun)
    [quiet] = await _asked(turns, "quiet", 1, begun)
    await quiet.end()
    for caller in loud[:2]:
        await caller.end()
    assert begun.count("loud") == 4  # of which two have ended: half is kept for the other one's next request
    await loud[2].end()
    assert begun.count("loud") == 5
    clock.now += module._ABSENT_SECONDS + 1
    await loud[3].end()
    assert begun.count("loud") == 8  # nobody else is here any more
    await _end(loud)


async def test_tenants_that_wait_begin_alternately() -> None:
    begun: list[str] = []
    turns = Turns(1)
    callers = await _asked(turns, "a", 4, begun) + await _asked(turns, "b", 4, begun)
    for number in range(len(callers)):
        oldest = begun[number]
        await next(c for c in callers if c.tenant == oldest and c.turn is not None and not c.task.done()).end()
    assert sorted(begun[:2]) == ["a", "b"]
    assert begun.count("a") == begun.count("b") == 4
    assert all(abs(begun[:n].count("a") - begun[:n].count("b")) <= 1 for n in range(8))


async def test_a_caller_that_goes_while_it_waits_takes_no_turn() -> None:
    begun: list[str] = []
    turns = Turns(1)
    first, second, third = await _asked(turns, "loud", 3, begun)
    second.task.cancel()
    await _settled()
    await first.end()
    assert third.turn is not None
    await _end([third])


async def test_a_caller_that_goes_as_its_turn_comes_gives_it_to_the_next() -> None:
    begun: list[str] = []
    turns = Turns(1)
    first, second, third = await _asked(turns, "loud", 3, begun)
    assert first.turn is not None
    first.turn.end()  # the second has its turn now, and does not know yet
    second.task.cancel()
    await _settled()
    assert third.turn is not None
    await _end([first, third])


async def test_a_request_that_shows_a_sign_of_its_work_gives_its_turn_back_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_AFTER_SIGN_SECONDS", 0.0)
    begun: list[str] = []
    first, second = await _asked(Turns(1), "loud", 2, begun)
    assert first.turn is not None
    assert second.turn is None
    first.turn.end_soon()
    async with asyncio.timeout(60):
        while second.turn is None:
            await asyncio.sleep(0)
    await _end([first, second])


async def test_a_request_whose_caller_leaves_keeps_its_turn_until_it_shows_a_sign_of_its_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_AFTER_SIGN_SECONDS", 0.0)
    begun: list[str] = []
    first, second = await _asked(Turns(1), "loud", 2, begun)
    first.task.cancel()
    await asyncio.sleep(0.05)
    assert second.turn is None
    first.has_shown_work.set()
    async with asyncio.timeout(60):
        while second.turn is None:
            await asyncio.sleep(0)
    await _end([second])


async def test_who_joins_needs_no_turn() -> None:
    turns = Turns(1)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(turns.turn("loud"))
        for _ in range(3):
            await stack.enter_async_context(turns.turn("loud", waits=False))


async def test_a_tenants_look_ups_keep_a_pace_after_a_burst_and_those_that_wait_too_long_are_refused() -> None:
    clock = _Clock()
    pace = module.Pace(per_minute=60, clock=clock)
    burst = [pace._reserved("loud") for _ in range(6)]
    assert burst == [0.0] * 6  # those of five seconds, and the one that is due
    waits = [pace._reserved("loud") for _ in range(5)]
    assert waits == [1.0, 2.0, 3.0, 4.0, 5.0]
    for _ in range(3):  # who is refused pushes nobody back
        with pytest.raises(LimitReached) as refused:
            pace._reserved("loud")
        assert (refused.value.retry_after_s, refused.value.tenant) == (6.0, "loud")
    assert pace._reserved("quiet") == 0.0
    clock.now += 6.0
    assert pace._reserved("loud") == 0.0


async def test_who_sends_large_bodies_that_are_refused_is_slowed_down_and_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, slept = _Clock(), list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    pace = module.Pace(per_minute=60, clock=clock, jitter=iter((0.0, 0.0, 0.0, 1.0)).__next__)
    for num_bytes in (16 * 1024, 8 * 16 * 1024, 3_000_000, 3_000_000):
        await pace.slow_down("loud", num_bytes)
    assert slept == [0.0, 4.0, 30.0, 15.0]  # within the burst, by its size, no longer than this, and not together
    assert pace._reserved("quiet") == 0.0


async def test_a_pace_forgets_tenants_that_are_gone() -> None:
    clock = _Clock()
    pace = module.Pace(per_minute=60_000, clock=clock)
    for number in range(100):
        pace._reserved(f"tenant-{number}")
    clock.now += 3600
    for _ in range(100):
        pace._reserved("here")
    assert set(pace._next) == {"here"}


async def test_look_ups_run_a_few_at_once_in_all_and_each_tenant_may_have_one() -> None:
    look_ups, running, is_over = module.LookUps(2, keeps_pace=False), list[str](), asyncio.Event()

    async def look_up(tenant: str) -> None:
        async with look_ups.turn(tenant):
            running.append(tenant)
            await is_over.wait()

    loud = [asyncio.create_task(look_up("loud")) for _ in range(20)]
    await _settled()
    assert running == ["loud"] * 2
    quiet = asyncio.create_task(look_up("quiet"))
    await _settled()
    assert running == ["loud", "loud", "quiet"]
    is_over.set()
    await asyncio.gather(*loud, quiet)
    assert len(running) == 21
