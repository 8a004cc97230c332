"""What one request costs the system besides its models, counted: `python -m lab.bench.weight`, with `--functions` by
function too.

Redis commands by name (those within scripts counted) and by process, calls to Temporal, events by type, bytes of
history, actions, and the processor time of each process. The test engine writes four scores, three stages and 56
tokens, as in lab.bench.scaling; `--question` asks another. Counts do not depend on the machine; processor time does.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import psutil
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from lab.bench.common import Figures, report
from tandem import AsyncClient
from tandem.local.supervisor import Stack
from tests.stacks import metrics_of, pid_of, redis_of, scripted_stack

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
_IN_SCRIPT = "lua"
_PROFILED = ("worker", "gateway")
_SAMPLES_PER_SECOND = 400
# What every sample has around it, and threads that wait.
_AROUND = re.compile(
    r"<frozen|threading\.py|runners\.py|uvloop|services/shared/process/(start|launch)\.py|<module>|selectors\.py"
)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--requests", type=int, default=40)
    arguments.add_argument("--width", type=int, default=1, help="concurrent requests")
    arguments.add_argument("--question", default=QUESTION)
    arguments.add_argument("--functions", action="store_true", help="processor time by function, with py-spy")
    options = arguments.parse_args()
    report("weight", asyncio.run(_measure(options.question, options.requests, options.width, options.functions)))


async def _measure(question: str, count: int, width: int, by_function: bool) -> Figures:
    with scripted_stack() as stack:
        temporal = await Client.connect(stack.address("temporal"))
        async with AsyncClient(stack.gateway) as client:
            await _ask(client, question, 10, 4)  # warm up
            figures = await weigh(stack, client, temporal, question, count, width)
            callers = await _commands_by_caller(stack, client, question)
            functions = await _functions(stack, client, question, count, width) if by_function else {}
    return {**figures, "redis_commands_by_process": callers, "functions": functions}


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


async def _commands_by_caller(stack: Stack, client: AsyncClient, question: str, count: int = 10) -> Figures:
    """Commands of each process by name, as Redis's MONITOR tells them; those within a script are its caller's."""
    seen = Counter[tuple[str, str]]()
    with redis_of(stack) as redis, redis.monitor() as monitor:
        watching = asyncio.create_task(asyncio.to_thread(_watch, monitor, stack, seen))
        await _ask(client, question, count, 1)
        with redis_of(stack) as other:
            other.echo("that is all")
        await watching
    by_process: dict[str, dict[str, float]] = {}
    for (process, command), number in seen.most_common():
        by_process.setdefault(process, {})[command] = round(number / count, 1)
    return {process: {"all": round(sum(names.values()), 1), **names} for process, names in sorted(by_process.items())}


def _watch(monitor: Iterator[None], stack: Stack, seen: Counter[tuple[str, str]]) -> None:
    names, caller = _Connections(stack), ""
    for said in monitor.listen():  # type: ignore[attr-defined]  # redis-py's Monitor
        words = str(said["command"]).split(" ")
        if words[:2] == ["ECHO", "that"] or words[:2] == ["echo", "that"]:
            return
        is_in_script = said["client_type"] == _IN_SCRIPT
        caller = caller if is_in_script else names.process_at(int(said["client_port"]))
        seen[caller, ("in script: " if is_in_script else "") + words[0].lower()] += 1


class _Connections:
    """Which process of the stack has a local port."""

    def __init__(self, stack: Stack) -> None:
        self._stack, self._known = stack, dict[int, str]()

    def process_at(self, port: int) -> str:
        if port not in self._known:
            self._known |= {
                connection.laddr.port: row.name
                for row in self._stack.status()
                if row.pid
                for connection in psutil.Process(row.pid).connections("tcp")
                if connection.laddr
            }
        return self._known.get(port, "unknown")


async def _functions(stack: Stack, client: AsyncClient, question: str, count: int, width: int) -> Figures:
    """Processor milliseconds of a request by function and what it calls, of the processes that cost most."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as samplers:
        files = {name: Path(folder) / name for name in _PROFILED}
        for name, file in files.items():
            samplers.enter_context(_sampled(pid_of(stack, name), file))
        before = processor_seconds(stack)
        await _ask(client, question, count, width)
        spent = processor_seconds(stack) - before
        samplers.close()
        return {name: _shares(file, 1000 * spent[name] / count) for name, file in files.items()}


@contextmanager
def _sampled(pid: int, file: Path) -> Iterator[None]:
    command = ["py-spy", "record", "--pid", str(pid), "--format", "raw", "--rate", str(_SAMPLES_PER_SECOND)]
    process = subprocess.Popen([*command, "--nonblocking", "--output", str(file)], stdout=subprocess.DEVNULL)
    time.sleep(1)  # until it samples
    try:
        yield
    finally:
        process.send_signal(2)
        process.wait()


def _shares(file: Path, milliseconds: float, most: int = 40) -> dict[str, float]:
    within, total = Counter[str](), 0
    for line in file.read_text().splitlines():
        stack, _, number = line.rpartition(" ")
        total += int(number)
        for function in {frame.rpartition(":")[0] for frame in stack.split(";")}:
            if function and not _AROUND.search(function):
                within[function] += int(number)
    return {function: round(milliseconds * n / max(total, 1), 2) for function, n in within.most_common(most)}


def processor_seconds(stack: Stack, others: Sequence[tuple[str, psutil.Process]] = ()) -> Counter[str]:
    """User and system time of each component, and of `others`, since it started."""
    processes = {row.name: psutil.Process(row.pid) for row in stack.status() if row.pid}
    return Counter({name: _seconds(process) for name, process in {**processes, **dict(others)}.items()})


def _seconds(process: psutil.Process) -> float:
    times = [p.cpu_times() for p in (process, *process.children(recursive=True))]
    return sum(t.user + t.system for t in times)


if __name__ == "__main__":
    main()
