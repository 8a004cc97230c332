"""Threads of their own for calls that take long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


class Threads:
    """At most `most` calls run at once, and others wait for them.

    In the pool of `asyncio.to_thread` they would delay what shares it: admission of requests, checks of tokens, reads of files.
    """

    def __init__(self, most: int, name: str) -> None:
        self._executor = ThreadPoolExecutor(most, thread_name_prefix=name)

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """As `asyncio.to_thread`: the caller's context goes along. Raises what `function` raises."""
        bound = partial(copy_context().run, function, *arguments)
        return await asyncio.get_running_loop().run_in_executor(self._executor, bound)
