"""Nothing that an answer does gets out of the sandbox, counts as a pass, or stays behind."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import pytest
import pytest_asyncio

from services.answer_checker.sandbox.layers import LANDLOCK, NAMESPACES
from tests.integration.checking import FAIL, LIMITS, PASS, RIGHT, Running, run_checker
from tests.integration.escapes import ESCAPES, HELD_BY_LAYERS, was_written_outside

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A server of this machine, which no answer may reach, also by an abstract name."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket(socket.AF_UNIX) as abstract:
        number = listener.getsockname()[1]
        abstract.bind(f"\0tandem-escape-{number}")
        abstract.listen()
        yield number


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def without_landlock() -> AsyncIterator[Running]:
    async with run_checker(without=(LANDLOCK,)) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def checkers(checker: Running, in_a_pod: Running, without_landlock: Running) -> AsyncIterator[dict[str, Running]]:
    """After all escapes each still passes a right answer."""
    running = {"every layer": checker, "no namespaces": in_a_pod, "no landlock": without_landlock}
    yield running
    assert {name: (await each.examples(RIGHT)).verdict for name, each in running.items()} == dict.fromkeys(
        running, PASS
    )


@pytest.mark.parametrize(
    ("layers", "escape"),
    [
        *(("every layer", escape) for escape in ESCAPES),
        *((layers, escape) for layers in ("no namespaces", "no landlock") for escape in HELD_BY_LAYERS),
    ],
)
async def test_no_answer_gets_out_of_the_sandbox(
    checkers: dict[str, Running], port: int, layers: str, escape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    checker = checkers[layers]
    monkeypatch.setenv("SECRET", "in the service's environment")
    began = asyncio.get_running_loop().time()
    result = await checker.examples(ESCAPES[escape].replace("PORT", str(port)), 'assert f() == "right"', question="")
    assert result.verdict == FAIL, result
    assert result.score == 0
    assert asyncio.get_running_loop().time() - began < LIMITS.seconds + 20  # its limit, on a busy machine
    assert not was_written_outside()
    await checker.nothing_runs()


@pytest.mark.parametrize("is_in_a_pod", [False, True])
async def test_many_checks_leave_nothing_behind(is_in_a_pod: bool) -> None:
    async with run_checker(without=(NAMESPACES,) if is_in_a_pod else ()) as checker:
        await asyncio.gather(*(checker.examples(RIGHT) for _ in range(8)))
        await checker.nothing_runs()
        before = left_behind(checker)
        for _ in range(10):
            answers = [RIGHT, "import os\nos._exit(1)"] * 4
            results = await asyncio.gather(*(checker.examples(answer) for answer in answers))
            assert [result.verdict for result in results] == [PASS, FAIL] * 4
            texts = await asyncio.gather(*(checker.check("choice", "a", "a") for _ in range(12)))
            assert {result.verdict for result in texts} == {PASS}
        await checker.nothing_runs()
        await back_to(before, checker)


async def back_to(before: dict[str, int], checker: Running) -> None:
    """Wait: other tests' systems live in this process too, and open a file for a moment."""
    more = before
    with suppress(TimeoutError):
        async with asyncio.timeout(30):
            while more := {name: now for name, now in left_behind(checker).items() if now > before[name]}:
                await asyncio.sleep(0.05)
    assert more == {}, before


def left_behind(checker: Running) -> dict[str, int]:
    """Open files in both processes, those of the network left out: a check opens none, and other tests' systems, which
    live in this process too, connect again to Redis, Temporal and each other when they like.
    """
    return {
        "service": sum(not is_of_network(int(name)) for name in os.listdir("/proc/self/fd")),
        "fork server": checker.fork_server.num_fds(),
    }


def is_of_network(descriptor: int) -> bool:
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return False
        with socket.socket(fileno=os.dup(descriptor)) as one:
            return one.family in (socket.AF_INET, socket.AF_INET6)
    except OSError:  # closed in the meantime: it is not left behind
        return True
