"""Calls of a real helper: what exceeds its limits ends, and nobody else waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from services.shared.bounded.calls import BoundedCalls, Bounds, Busy, PlaceQueue, Refused, TooCostly

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(120)]
MODULE = "tests.bounded_work"
BOUNDS = Bounds(cpu_seconds=1, wall_seconds=20, memory_bytes=128 << 20)


@pytest_asyncio.fixture
async def calls() -> AsyncIterator[BoundedCalls]:
    yield BoundedCalls([MODULE], BOUNDS)


async def call(calls: BoundedCalls, name: str, text: str = "this", weight: float = 0.0) -> int:
    async with calls.place(weight):
        return await calls.run(f"{MODULE}:{name}", text)


def pid_in(file: Path) -> int:
    return int(file.read_text() or 0) if file.exists() else 0


async def process_in(file: Path) -> psutil.Process:
    while not (pid := pid_in(file)):
        await asyncio.sleep(0.01)
    return psutil.Process(pid)


async def test_work_that_is_done_says_how_much_memory_it_took(calls: BoundedCalls) -> None:
    assert await call(calls, "nothing") < 16 << 20
    assert 28 << 20 <= await call(calls, "hold") < 64 << 20


async def test_a_refusal_is_the_works_own_and_short(calls: BoundedCalls) -> None:
    with pytest.raises(Refused, match="this is wrong") as refused:
        await call(calls, "refuse")
    assert len(str(refused.value)) == 500


@pytest.mark.parametrize("work", ["spin", "fill", "die", "fail"])
async def test_what_takes_too_much_ends_alone(calls: BoundedCalls, work: str) -> None:
    with pytest.raises(TooCostly):
        await call(calls, work)
    await call(calls, "nothing")


async def test_what_only_takes_long_is_not_called_too_costly(tmp_path: Path) -> None:
    calls = BoundedCalls([MODULE], replace(BOUNDS, wall_seconds=1))
    with pytest.raises(Busy):
        await call(calls, "wait", str(tmp_path / "pid"))
    assert not psutil.pid_exists(pid_in(tmp_path / "pid"))


async def test_work_ends_when_its_caller_leaves(calls: BoundedCalls, tmp_path: Path) -> None:
    running = asyncio.create_task(call(calls, "wait", str(tmp_path / "pid")))
    process = await process_in(tmp_path / "pid")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        await asyncio.sleep(0.01)
    await call(calls, "nothing")


async def test_a_helper_that_was_killed_is_started_again(calls: BoundedCalls) -> None:
    await call(calls, "nothing")
    assert calls._helper is not None
    calls._helper.kill()
    calls._helper.wait()
    await call(calls, "nothing")


async def test_light_work_does_not_wait_for_heavy_work(calls: BoundedCalls, tmp_path: Path) -> None:
    heavy = [asyncio.create_task(call(calls, "wait", str(tmp_path / f"{i}"), 1000.0)) for i in range(9)]
    await process_in(tmp_path / "0")
    await call(calls, "nothing")
    for task in heavy:
        task.cancel()
    await asyncio.gather(*heavy, return_exceptions=True)
    assert not any(pid_in(tmp_path / f"{i}") for i in range(1, 9))


async def test_the_lightest_is_next_and_the_heaviest_of_too_many_is_sent_away() -> None:
    turns, order, may_end = PlaceQueue(places=1, max_waiting=3), [], asyncio.Event()

    async def take(weight: float) -> None:
        async with turns.place(weight):
            order.append(weight)
            await may_end.wait()

    tasks = {weight: asyncio.create_task(take(weight)) for weight in (9.0, 5.0, 3.0, 4.0, 2.0)}
    done, _ = await asyncio.wait(tasks.values(), return_when=asyncio.FIRST_COMPLETED)
    assert done == {tasks[5.0]}
    assert isinstance(tasks[5.0].exception(), Busy)
    tasks.pop(3.0).cancel()
    may_end.set()
    await asyncio.gather(tasks[9.0], tasks[4.0], tasks[2.0])
    assert order == [9.0, 2.0, 4.0]
    await take(1.0)


async def test_a_place_that_came_as_its_caller_left_goes_to_the_next() -> None:
    turns = PlaceQueue(places=1, max_waiting=3)

    async def take() -> None:
        async with turns.place(1.0):
            pass

    async with turns.place(1.0):
        first, second = asyncio.create_task(take()), asyncio.create_task(take())
        await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    assert first.cancelled()
    await second
    await take()
