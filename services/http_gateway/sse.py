"""Server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, TypeVar

from services.http_gateway.lifetime import Ending, ServerEnds

T = TypeVar("T")
PING = b": ping\n\n"
_PING_SECONDS = 10.0


def event(data: dict[str, Any], event_id: str = "") -> bytes:
    """One that has a type is named after it. `event_id`: what a client whose connection was lost sends as
    Last-Event-ID.
    """
    head = f"id: {event_id}\n" if event_id else ""
    name = f"event: {data['type']}\n" if isinstance(data.get("type"), str) else ""
    return f"{head}{name}data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


async def with_pings(items: AsyncIterator[T], ending: Ending) -> AsyncIterator[T | None]:
    """Yield the items, and None where none came for a while: proxies close connections that are silent. Raises
    ServerEnds.
    """
    coming = asyncio.ensure_future(anext(items, None))
    try:
        while not ending.is_here:
            ending.waiting.add(coming)
            done, _ = await asyncio.wait({coming}, timeout=_PING_SECONDS)
            if ending.is_here:
                break
            if not done:
                yield None
                continue
            ending.waiting.discard(coming)
            item = coming.result()
            if item is None:
                return
            yield item
            coming = asyncio.ensure_future(anext(items, None))
        raise ServerEnds
    finally:
        ending.waiting.discard(coming)
        coming.cancel()
