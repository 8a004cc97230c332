"""Whether a text can be held to a JSON schema at a bounded cost, found by trying it in a process with limits.

A compiled grammar cannot leave its process. So an engine compiles again what was tried, which then costs no more.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from functools import cache

from services.models.engine.api import InvalidSchema, QueueFull
from services.models.engine.call_format import Grammar
from services.models.engine.json_schema import cost_of_text, is_beginning, key_of, try_grammar, try_schema
from services.models.engine.schema_cost import Cost
from services.models.engine.writer import Writer
from services.shared.bounded.calls import BoundedCalls, Busy, Refused, TooCostly

_MODULE = "services.models.engine.json_schema"
_MAX_KNOWN = 4096
"""Of at most 1 KB each."""
_OF_A_LIMIT = re.compile(r"[Tt]oo (big|large|many|complex|costly)|fuel|Unable to determine|max is")
"""Of the library: the path of the costliest keyword says more than it does."""


class SchemaFindings:
    """The findings of one process, by the bytes of the schemas."""

    def __init__(self, calls: BoundedCalls | None = None) -> None:
        self._calls = calls or BoundedCalls([_MODULE])
        self._known: OrderedDict[bytes, int | str] = OrderedDict()

    async def num_bytes(self, schema: Grammar | str) -> int:
        """Memory that compiling it takes. Cancelling ends one under way.

        Raises InvalidSchema where no text can be held to it within the bounds, QueueFull where too many others are
        tried.
        """
        key = key_of(schema)
        found = self._known.get(key)
        if found is None:
            found = await self._find(schema, key)
        self._known[key] = found
        self._known.move_to_end(key)
        if len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)
        if isinstance(found, str):
            raise InvalidSchema(found)
        return found

    async def _find(self, schema: Grammar | str, key: bytes) -> int | str:
        """The memory, or why not."""
        attempt, text = (try_grammar, schema.text) if isinstance(schema, Grammar) else (try_schema, schema)
        try:
            cost = await asyncio.to_thread(cost_of_text, schema)
            async with self._calls.place(cost.milliseconds):
                if (found := self._known.get(key)) is not None:  # while this one waited
                    return found
                return await self._calls.run(f"{_MODULE}:{attempt.__name__}", text)
        except InvalidSchema as error:
            return str(error)
        except Refused as error:
            return f"{error}; most by {cost.path}" if cost.path and _OF_A_LIMIT.search(str(error)) else str(error)
        except TooCostly:
            return self._too_costly(cost)
        except Busy as error:
            raise QueueFull(f"the schema cannot be tried now: {error}") from error

    def _too_costly(self, cost: Cost) -> str:
        bounds = self._calls.bounds
        return (
            f"the schema is too costly to hold a text to; most by {cost.path or 'its size'}: it takes more than "
            f"{bounds.cpu_seconds} s or {bounds.memory_bytes >> 20} MiB to compile"
        )


@cache
def findings() -> SchemaFindings:
    """Of this process: all its engines and callers share one helper."""
    return SchemaFindings()


async def can_continue(writer: Writer, schema: str, text: str) -> bool:
    """Whether `text`, of another model, can be the beginning of the answer; else that is a whole JSON text.

    Not every model can go on from a text. And it may not follow the schema in our grammar: an API orders keys its own
    way, or a stage ends within a character. Raises InvalidSchema and QueueFull.
    """
    if not text or not writer.can.continues_schema:
        return False
    await findings().num_bytes(schema)
    return await asyncio.to_thread(is_beginning, schema, text)
