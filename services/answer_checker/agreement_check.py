"""`python_agreement`: two programs, each in an isolated process, are given the same inputs; their results are compared
here.

What crosses is JSON with tags (inside.values), which is compared as it is: nothing of a program is evaluated here.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from services.answer_checker.inside.values import encode
from services.answer_checker.sandbox.layers import Limits
from services.answer_checker.sandbox.messages import BadMessage, receive, send
from services.answer_checker.sandbox.processes import IsolatedProcess, Sandbox
from services.shared.checks.api import Compared, failed, passed, unknown
from services.shared.checks.inputs import Input, given_inputs, mutated_inputs
from services.shared.checks.python_agreement import Wanted, agree, defines, wanted_of
from tandem.method.evidence.prompt_code import parse_prompt
from tandem.method.request.tasks import CheckTask

CANDIDATE = "services.answer_checker.inside.candidate"
_LATER_SECONDS = 0.5
"""How much longer a process may live than the comparison takes."""


@dataclass
class _Seen:
    """`apart`: inputs on which a program raises, or whose results nobody can compare: they may be outside the task."""

    equal: int = 0
    apart: int = 0
    different: list[str] = field(default_factory=list)
    is_random: bool = False
    failed: str = ""

    @property
    def compared(self) -> int:
        return self.equal + len(self.different)


async def check_agreement(sandbox: Sandbox, limits: Limits, task: CheckTask, argument: str) -> tuple[Compared, float]:
    """Return the verdict, and seconds of processor time. Raises SandboxError."""
    prompt = parse_prompt(task.question)
    try:
        wanted, other = wanted_of(argument)
    except ValueError as error:
        return unknown(str(error)), 0.0
    given = given_inputs(task.question, prompt.entry) if prompt.entry else []
    if not given:
        return unknown("there is no example with literal arguments"), 0.0
    if not defines(other, prompt.entry):
        return unknown(f"the other program does not define {prompt.entry}"), 0.0
    inputs, seen = mutated_inputs(given, wanted.inputs), _Seen()
    longer = replace(limits, seconds=limits.seconds + _LATER_SECONDS)
    programs = [_Program(sandbox, longer, prompt.entry) for _ in range(2)]
    try:
        try:
            async with asyncio.timeout(limits.seconds):
                await _compare(programs, [prompt.program(text) for text in (task.answer, other)], inputs, seen)
        except TimeoutError:
            pass  # what was compared until then counts
        ended = await asyncio.gather(*(program.process.end() for program in programs))
    finally:
        for program in programs:
            program.close()
    return _judged(seen, wanted), sum(each.seconds for each in ended)


async def _compare(programs: Sequence[_Program], sources: Sequence[str], inputs: Sequence[Input], seen: _Seen) -> None:
    loaded = await asyncio.gather(*(p.load(source) for p, source in zip(programs, sources, strict=True)))
    if not all("value" in each for each in loaded):
        seen.failed = "the program does not load" if "value" not in loaded[0] else "the other program does not load"
        return
    for each in inputs:
        results = await asyncio.gather(*(program.result(each) for program in programs))
        if each.is_given:
            again = await asyncio.gather(*(program.result(each) for program in programs))
            if any(_differ(*pair) for pair in zip(results, again, strict=True)):
                seen.is_random = True
                return
        verdict = None if any(result is None for result in results) else agree(*results)
        if verdict is None:
            seen.apart += 1
        elif verdict:
            seen.equal += 1
        else:
            seen.different.append(", ".join(map(repr, each.arguments))[:200])


def _differ(one: Any, other: Any) -> bool:
    return one is not None and other is not None and agree(one, other) is False


def _judged(seen: _Seen, wanted: Wanted) -> Compared:
    if seen.failed or seen.is_random:
        return unknown(seen.failed or "a program gives another result where it is called again")
    share = seen.equal / seen.compared if seen.compared else 0.0
    detail = f"{seen.equal} of {seen.compared} results are equal, {seen.apart} inputs apart"
    if seen.compared < wanted.least:
        return unknown(f"{detail}; at least {wanted.least} must be compared")
    if share >= wanted.share:
        return passed(detail)
    return failed(f"{detail}; another program differs for the arguments {seen.different[0]}", share)


class _Program:
    """One of the programs, in its process."""

    def __init__(self, sandbox: Sandbox, limits: Limits, entry: str) -> None:
        self._stream, theirs = socket.socketpair()
        self._stream.setblocking(False)
        self._entry = entry
        self.process: IsolatedProcess = sandbox.launch(f"{CANDIDATE}:main", limits, theirs)

    async def load(self, source: str) -> dict[str, Any]:
        """Return what loading it comes to; empty where its process ended."""
        try:
            await send(self.process.talk, {"program": source})
        except ConnectionError:
            return {}
        return await self._receive()

    async def result(self, given: Input) -> Any:
        """Return what the call returns, or for a function that returns None its arguments after the call; None where
        it comes to neither.
        """
        arguments = [encode(value) for value in (*given.arguments, *(value for _, value in given.keywords))]
        names = [name for name, _ in given.keywords]
        try:
            await send(self._stream, {"do": "call", "name": self._entry, "given": arguments, "keywords": names})
        except OSError:
            return None
        found = await self._receive()
        if "value" not in found:
            return None
        is_in_place = found["value"] is None and found.get("given", arguments) != arguments
        return ["list", [found["value"], ["list", found["given"]]]] if is_in_place else ["list", [found["value"]]]

    async def _receive(self) -> dict[str, Any]:
        try:
            found = await receive(self._stream)
        except BadMessage:
            return {}
        return found if isinstance(found, dict) else {}

    def close(self) -> None:
        self._stream.close()
        self.process.close()
