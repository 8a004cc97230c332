"""What one request costs the system besides its models: Redis commands (those within scripts counted), calls to
Temporal, events by type, bytes of history, actions, and the processor time of each process.

The test engine writes four scores, three stages and 56 tokens. Counts do not depend on the machine; processor time
does.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import numpy as np
import psutil
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from lab.bench.common import Figures
from tandem import AsyncClient
from tandem.local.supervisor import Stack
from tests.stacks import metrics_of, redis_of

QUESTION = "[ms=1 slm_eos=8] how?"
_HEARTBEAT = "RecordActivityTaskHeartbeat"
# One action each in a history (docs.temporal.io/cloud/actions). A marker is the local activities of one workflow task.
ACTIONS = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
    EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED,
    EventType.EVENT_TYPE_TIMER_STARTED,
    EventType.EVENT_TYPE_MARKER_RECORDED,
    EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
}


async def weigh(stack: Stack, client: AsyncClient, temporal: Client, question: str, count: int, width: int) -> Figures:
    """Means over `count` requests, `width` at once."""
    processor, commands, calls = processor_seconds(stack), _redis_commands(stack), _temporal_calls(stack)
    ids = await _ask(client, question, count, width)
    spent = processor_seconds(stack) - processor
    commands = _redis_commands(stack) - commands
    calls = _temporal_calls(stack) - calls
    events, sizes, transitions = Counter[str](), [], []
    actions = calls[_HEARTBEAT]
    for request_id in ids:
        handle = temporal.get_workflow_handle(request_id)
        known = (await handle.describe()).raw_info
        sizes.append(known.history_size_bytes)
        transitions.append(known.state_transition_count)
        for event in (await handle.fetch_history()).events:
            actions += event.event_type in ACTIONS
            events[EventType.Name(event.event_type).removeprefix("EVENT_TYPE_").lower()] += 1
    return {
        "n": count,
        "width": width,
        "question": question,
        "redis_commands": round(commands.total() / count, 1),
        "redis_commands_by_name": _per_request(commands, count),
        "redis_bytes_kept": round(_redis_bytes(stack, ids) / count),
        "temporal_actions": round(actions / count, 1),
        "temporal_calls": _per_request(calls, count),
        "history_events": round(events.total() / count, 1),
        "history_events_by_type": _per_request(events, count),
        "history_bytes": round(float(np.mean(sizes))),
        "state_transitions": round(float(np.mean(transitions)), 1),
        "processor_ms": {name: round(1000 * s / count, 1) for name, s in sorted(spent.items())},
    }


async def _ask(client: AsyncClient, question: str, count: int, width: int) -> list[str]:
    slots = asyncio.Semaphore(width)

    async def one() -> str:
        async with slots:
            return str((await client.ask(question)).request_id)

    return list(await asyncio.gather(*(one() for _ in range(count))))


def _per_request(counted: Counter[str], count: int) -> dict[str, float]:
    return {name: round(number / count, 1) for name, number in counted.most_common() if number * 20 > count}


def _redis_bytes(stack: Stack, ids: Sequence[str]) -> int:
    """Of the requests' keys. The used memory counts the buffers of clients too, which come and go."""
    with redis_of(stack) as redis:
        names = (name for name in redis.scan_iter() if name.partition("}")[0].removeprefix("{") in ids)
        return sum(redis.memory_usage(name, samples=0) or 0 for name in names)


def _redis_commands(stack: Stack) -> Counter[str]:
    """By name, since the start."""
    with redis_of(stack) as redis:
        stats = redis.info("commandstats")
    ours = ("info", "client|setinfo", "hello")
    calls = {name.removeprefix("cmdstat_"): int(stat["calls"]) for name, stat in stats.items()}
    return Counter({name: n for name, n in calls.items() if name not in ours})


def _temporal_calls(stack: Stack) -> Counter[str]:
    """Calls to Temporal's frontend by operation, without those of its own system workers."""
    counted = Counter[str]()
    for sample in metrics_of(stack, "temporal"):
        of, by = sample.labels.get("service_name"), sample.labels.get("namespace")
        if sample.name.startswith("service_requests") and (of, by) in (("frontend", "default"), ("frontend", "all")):
            counted[sample.labels["operation"]] += int(sample.value)
    return counted


def processor_seconds(stack: Stack, others: Sequence[tuple[str, psutil.Process]] = ()) -> Counter[str]:
    """User and system time of each component, and of `others`, since it started."""
    processes = {row.name: psutil.Process(row.pid) for row in stack.status() if row.pid}
    return Counter({name: _seconds(process) for name, process in {**processes, **dict(others)}.items()})


def _seconds(process: psutil.Process) -> float:
    times = [p.cpu_times() for p in (process, *process.children(recursive=True))]
    return sum(t.user + t.system for t in times)
