"""Requests as Temporal's visibility lists them, put into the order of their beginnings.

Temporal lists what runs first, then what has ended, the latest end first; a visibility store in SQL takes no other order.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Mapping
from typing import Any

from temporalio.client import Client, WorkflowExecution

from services.gateway.records import Listed
from tandem.method.errors import TandemError
from tandem.method.names import SEARCH_ATTRIBUTES

logger = logging.getLogger(__name__)
_MIN_PAGE = 100


async def newest(client: Client, query: str, limit: int) -> list[Listed]:
    """The last `limit` to begin of those that match, the newest first. Raises RPCError.

    Nothing began after it ended: once a request ended before the `limit` newest ones so far began, no later one of the list is
    newer than they are. So beyond `limit` only those are read that ran at that moment.
    """
    # Those that run are asked for first: one that ends meanwhile is then in both lists rather than in none.
    running = client.list_workflows(f"{query} AND ExecutionStatus = 'Running'", page_size=limit, limit=limit)
    found = {execution.id: execution async for execution in running}
    began = [execution.start_time for execution in found.values()]
    heapq.heapify(began)
    page = max(limit, _MIN_PAGE)
    async for ended in client.list_workflows(f"{query} AND ExecutionStatus != 'Running'", page_size=page):
        if len(began) >= limit and ended.close_time is not None and ended.close_time < began[0]:
            break
        if ended.id not in found:
            heapq.heappush(began, ended.start_time)
        if len(began) > limit:
            heapq.heappop(began)
        found[ended.id] = ended
    in_order = sorted(found.values(), key=lambda execution: execution.start_time, reverse=True)
    return [await _listed(execution) for execution in in_order[:limit]]


async def readable_memo(execution: WorkflowExecution) -> Mapping[str, Any]:
    """Empty where it was encrypted with a key that is gone: one old request must not hide all others."""
    try:
        return await execution.memo()
    except (TandemError, KeyError) as error:  # KeyError: there are no keys at all, so nothing decrypts
        logger.warning("request %s cannot be read: %s", execution.id, error)
        return {}


async def _listed(execution: WorkflowExecution) -> Listed:
    memo = await readable_memo(execution)
    found = {pair.key.name: pair.value for pair in execution.typed_search_attributes}
    status = execution.status.name.lower() if execution.status else "running"
    return Listed(
        request_id=execution.id,
        state=status if status in ("running", "completed") else "failed",
        started_at=execution.start_time,
        ended_at=execution.close_time,
        trace_id=str(memo.get("trace_id", "")),
        profile=str(memo.get("profile", "")),
        tenant=str(memo.get("tenant", "")),
        attributes={name: found[key] for name, key in SEARCH_ATTRIBUTES.items() if key in found},
    )
