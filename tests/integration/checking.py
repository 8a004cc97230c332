"""A real answer checker on a free port, for tests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import grpc
import psutil

from services.answer_checker.__main__ import build
from services.answer_checker.checker import AnswerChecker, start_sandbox
from services.answer_checker.sandbox.layers import Limits
from tandem.v1 import checking_pb2, checking_pb2_grpc, tandem_pb2

LIMITS = Limits(seconds=3.0)
PROMPT = 'def add(a, b):\n    """Add.\n    >>> add(1, 2)\n    3\n    >>> add(2, 2)\n    4\n    """\n'
RIGHT = "def add(a, b):\n    return a + b"
PASS, FAIL, UNKNOWN, ERROR = (getattr(tandem_pb2, f"VERDICT_{v}") for v in ("PASS", "FAIL", "UNKNOWN", "ERROR"))


@dataclass
class Running:
    """A real server on a free port, and the process that its sandbox forks from."""

    stub: checking_pb2_grpc.AnswerCheckerStub
    fork_server: psutil.Process
    address: str

    async def check(self, name: str, answer: str, argument: str = "", question: str = "") -> tandem_pb2.CheckResult:
        request = checking_pb2.CheckRequest(
            request_id="r",
            checks=[tandem_pb2.Check(name=name, argument=argument)],
            question=question,
            answer=answer,
            task=tandem_pb2.TASK_CODE,
        )
        [result] = (await self.stub.Check(request)).results
        return result

    async def examples(self, answer: str, argument: str = "", question: str = PROMPT) -> tandem_pb2.CheckResult:
        return await self.check("python_examples", answer, argument, question)

    async def nothing_runs(self) -> None:
        async with asyncio.timeout(30):
            while self.fork_server.children(recursive=True):
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def run_checker(
    *, limits: Limits = LIMITS, concurrency: int = 2, max_waiting: int = 64, without: tuple[str, ...] = ()
) -> AsyncIterator[Running]:
    children = set(psutil.Process().children())
    sandbox = await start_sandbox(allow_weak=False, without=without)
    [fork_server] = set(psutil.Process().children()) - children
    server = build("127.0.0.1", 0, AnswerChecker(sandbox, limits, concurrency, max_waiting))
    await server.start()
    await server.serving()
    address = f"127.0.0.1:{server.port}"
    try:
        async with grpc.aio.insecure_channel(address) as channel:
            yield Running(checking_pb2_grpc.AnswerCheckerStub(channel), fork_server, address)
    finally:
        await server.stop(timedelta(0))
        await sandbox.stop()
    assert not fork_server.is_running()
