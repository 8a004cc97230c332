"""How fast does the answer checker check? Each kind of check, from 1, 8 and 32 callers at once.

`python -m lab.bench.checks --runs 200`. The service is a process of its own with its default settings, asked over gRPC.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator
from typing import NamedTuple

import grpc
import numpy as np

from lab.bench.common import Figures, quantiles, report
from services.answer_checker.service import NAME
from tandem.local.ports import free_port
from tandem.local.probes import is_serving
from tandem.v1 import checking_pb2, checking_pb2_grpc, tandem_pb2

_CALLERS = 1, 8, 32
_WARM_UP = 10
_PROMPT = '''from typing import List


def has_close_elements(numbers: List[float], threshold: float) -> bool:
    """Check if in given list of numbers, are any two numbers closer to each other than given threshold.
    >>> has_close_elements([1.0, 2.0, 3.0], 0.5)
    False
    >>> has_close_elements([1.0, 2.8, 3.0, 4.0, 5.0, 2.0], 0.3)
    True
    """
'''
_ANSWER = """def has_close_elements(numbers, threshold):
    numbers = sorted(numbers)
    return any(b - a < threshold for a, b in zip(numbers, numbers[1:]))
"""
_OTHER_PROGRAM = """def has_close_elements(numbers, threshold):
    pairs = ((a, b) for i, a in enumerate(numbers) for b in numbers[:i])
    return any(abs(a - b) < threshold for a, b in pairs)
"""
_TEXT = "Invoice RE-5577 of 30 September 2026: 2 cable drums, in total 1,554.95 EUR."
_DATA = '{"number": "RE-5577", "issued": "2026-09-30", "total": 1554.95}'
_SCHEMA = '{"type": "object", "required": ["number"]}'


class Case(NamedTuple):
    """One kind of check; its verdict is a pass."""

    check: str
    question: str
    answer: str
    argument: str = ""


_CASES = {
    "python_examples": Case("python_examples", _PROMPT, _ANSWER),
    "python_agreement": Case("python_agreement", _PROMPT, _ANSWER, f"# inputs=30\n{_OTHER_PROGRAM}"),
    "json_schema": Case("json_schema", _TEXT, _DATA, _SCHEMA),
    "regex": Case("regex", _PROMPT, _ANSWER, r"(?s).*return.*"),
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=200)
    report("checks", asyncio.run(_measure(arguments.parse_args().runs)))


async def _measure(runs: int) -> Figures:
    async with _service() as address, grpc.aio.insecure_channel(address) as channel:
        stub = checking_pb2_grpc.AnswerCheckerStub(channel)
        info = await stub.GetCheckerInfo(checking_pb2.GetCheckerInfoRequest())
        figures: Figures = {"isolation": list(info.isolation)}
        for name in _CASES:
            await _times(stub, name, _WARM_UP, 1)
            figures[name] = {str(callers): await _figures(stub, name, runs, callers) for callers in _CALLERS}
        return figures


async def _figures(stub: checking_pb2_grpc.AnswerCheckerAsyncStub, name: str, runs: int, callers: int) -> Figures:
    began = time.perf_counter()
    times = await _times(stub, name, runs, callers)
    seconds = time.perf_counter() - began
    return {
        "per_second": round(runs / seconds, 1),
        "p95_ms": round(float(np.percentile(times, 95)), 2),
        "check_ms": quantiles(times),
    }


async def _times(stub: checking_pb2_grpc.AnswerCheckerAsyncStub, name: str, runs: int, callers: int) -> list[float]:
    """Milliseconds of each call. Every caller sends its next one when it has the answer to the last."""
    waiting, times = iter(range(runs)), list[float]()

    async def call_in_turn() -> None:
        for _ in waiting:
            began = time.perf_counter()
            await _check(stub, name)
            times.append((time.perf_counter() - began) * 1000)

    await asyncio.gather(*(call_in_turn() for _ in range(callers)))
    return times


async def _check(stub: checking_pb2_grpc.AnswerCheckerAsyncStub, name: str) -> None:
    case = _CASES[name]
    check = tandem_pb2.Check(name=case.check, argument=case.argument)
    request = checking_pb2.CheckRequest(
        request_id="bench", checks=[check], question=case.question, answer=case.answer, task=tandem_pb2.TASK_CODE
    )
    [result] = (await stub.Check(request)).results
    if result.verdict != tandem_pb2.VERDICT_PASS:
        raise SystemExit(f"{name}: {tandem_pb2.Verdict.Name(result.verdict)} {result.detail}")


@contextlib.asynccontextmanager
async def _service() -> AsyncIterator[str]:
    """Address of an answer checker that runs until the block ends."""
    port = free_port()
    environment = os.environ | {"TANDEM_PORT": str(port), "TANDEM_LOG_LEVEL": "WARNING"}
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "services.answer_checker", env=environment)
    try:
        while not is_serving(port, NAME):
            if process.returncode is not None:
                raise SystemExit("the answer checker ended; its error is above")
            await asyncio.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


if __name__ == "__main__":
    main()
