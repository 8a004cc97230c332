"""An engine in a process of its own, which answers each line of JSON with a line of JSON.

Two engines in one process would share its threads, its memory and its start.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import IO, Any

from services.models.engine.api import Engine, GenerationRequest, Token

Prompts = Sequence[Sequence[int]]


def answer_lines(engine: Engine) -> None:
    """The process's side, until its input ends."""
    for line in sys.stdin:
        request = json.loads(line)
        started = time.time()
        token_times = asyncio.run(_token_times(engine, request["prompts"], request["max_tokens"]))
        print(json.dumps({"started": started, "token_times": token_times}), flush=True)


async def _token_times(engine: Engine, prompts: Prompts, max_tokens: int) -> list[float]:
    """Unix seconds of each token of all sequences, in order."""

    async def stream(number: int, ids: Sequence[int]) -> list[float]:
        request = GenerationRequest(f"{number}", tuple(ids), max_tokens)
        return [item.generated_at async for item in engine.generate(request) if isinstance(item, Token)]

    return sorted(chain(*await asyncio.gather(*(stream(number, ids) for number, ids in enumerate(prompts)))))


class LineProcess:
    """The other side."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )  # fmt: skip

    @property
    def pid(self) -> int:
        return self._process.pid

    def tokens_per_second(self, prompts: Prompts, max_tokens: int) -> float:
        """Of one sequence from its first token: decoding alone. Of several from the first request on, prefill
        included.
        """
        started, times = self._times(prompts, max_tokens)
        if len(prompts) == 1:
            return (len(times) - 1) / (times[-1] - times[0])
        return len(times) / (times[-1] - started)

    def prefilled_per_second(self, prompt: Sequence[int]) -> float:
        """Tokens of a prompt, up to the first token that follows it."""
        started, times = self._times([prompt], 1)
        return len(prompt) / (times[0] - started)

    def end(self) -> None:
        _open(self._process.stdin).close()
        self._process.wait(60)

    def _times(self, prompts: Prompts, max_tokens: int) -> tuple[float, list[float]]:
        stdin = _open(self._process.stdin)
        stdin.write(json.dumps({"prompts": prompts, "max_tokens": max_tokens}) + "\n")
        stdin.flush()
        while "started" not in (reply := self._read()):
            pass
        return reply["started"], reply["token_times"]

    def _read(self) -> dict[str, Any]:
        stdout = _open(self._process.stdout)
        while not (line := stdout.readline()).startswith("{"):
            if not line:
                raise SystemExit(f"an engine has ended: run {' '.join(self._command)} to see why")
        reply: dict[str, Any] = json.loads(line)
        return reply


@contextmanager
def line_process(command: Sequence[str]) -> Iterator[LineProcess]:
    process = LineProcess(command)
    try:
        yield process
    finally:
        process.end()


def _open(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
