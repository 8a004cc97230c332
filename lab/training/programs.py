"""Programs that a model wrote, run with their tests in the answer checker's sandbox."""

from __future__ import annotations

import asyncio
import secrets
import threading
from contextlib import suppress
from functools import cache

from services.answer_checker.checker import MODULES, allows_weak_sandbox, start_sandbox
from services.answer_checker.sandbox.layers import Limits
from services.answer_checker.sandbox.messages import BadMessage, receive, send
from services.answer_checker.sandbox.processes import Sandbox

_ENTRY = "services.answer_checker.inside.program_tests"
_starting = threading.Lock()
_LIMITS = Limits(seconds=10.0, memory_bytes=1 << 30)


def passes(program: str, tests: str) -> bool:
    """Whether `tests` end without an error after `program`. May be called from any thread; blocks.

    Raises SandboxError, and FailedPrecondition where this machine would not isolate them and nobody allowed that.
    """
    with _starting:
        loop = _loop()
    return asyncio.run_coroutine_threadsafe(_passes(program, tests), loop).result()


async def _passes(program: str, tests: str) -> bool:
    process = (await _sandbox()).launch(f"{_ENTRY}:main", _LIMITS)
    word, said = secrets.token_hex(), None
    try:
        with suppress(ConnectionError, BadMessage):  # it has ended, or says something else
            await send(process.talk, {"program": program})
            if await receive(process.talk) is not None:
                await send(process.talk, {"tests": tests, "word": word})
                said = await receive(process.talk)
        await process.end()
    finally:
        process.close()
    return bool(said == {"word": word})


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """Of the thread that talks to the sandbox, for as long as this process lives."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="programs", daemon=True).start()
    return loop


_started: asyncio.Task[Sandbox] | None = None


async def _sandbox() -> Sandbox:
    """One for all programs. It ends with this process, whose end of its stream closes then."""
    global _started
    if _started is None:
        _started = asyncio.create_task(start_sandbox(allow_weak=allows_weak_sandbox(), modules=(*MODULES, _ENTRY)))
    return await _started
