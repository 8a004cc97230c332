"""What must not be left of requests that have ended: workflows, keys without a time to live, descriptors, threads,
zombies.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.error import URLError

import psutil

from tandem import Client, RequestError
from tandem.cli.batch_progress import is_over
from tandem.local.supervisor import Stack
from tests import stacks

_BOUND_SECONDS = 60.0
_MOST_MORE_FDS, _MOST_MORE_THREADS = 40, 24  # of libraries that open what they need once
_CONNECTIONS_PER_REQUEST = 4  # at once, of one process; a pool keeps as many as it needed at its worst moment
_MOST_MORE_CONNECTIONS = 40
_KEPT_KEYS = ("tandem:workers",)  # prefixes of what belongs to no request


@dataclass(frozen=True, slots=True)
class Held:
    """By one process. `connections`: established ones; `fds` are all other descriptors, half-closed connections among
    them.
    """

    pid: int
    fds: int
    threads: int
    connections: int = 0


def held(stack: Stack) -> dict[str, Held]:
    found = {}
    for row in stack.status():
        process = psutil.Process(stacks.pid_of(stack, row.name))
        connections = sum(each.status == psutil.CONN_ESTABLISHED for each in process.connections("tcp"))
        found[row.name] = Held(process.pid, process.num_fds() - connections, process.num_threads(), connections)
    return found


def growth(name: str, now: Held, usual: Held, num_requests: int) -> Iterator[str]:
    """What a process holds beyond what requests, `num_requests` at once, leave to the next ones. In words.

    Redis opens no connections: those it has are in its clients' pools, and counted there.
    """
    if now.fds > usual.fds + _MOST_MORE_FDS:
        yield f"{name} has {now.fds} descriptors besides its connections, {usual.fds} as a rule"
    most = usual.connections + _MOST_MORE_CONNECTIONS + _CONNECTIONS_PER_REQUEST * num_requests
    if now.connections > most and name != "redis":
        yield f"{name} has {now.connections} connections, {usual.connections} as a rule, {most} at most"
    if now.threads > usual.threads + _MOST_MORE_THREADS:
        yield f"{name} has {now.threads} threads, {usual.threads} as a rule"


def stopped(stack: Stack) -> list[str]:
    """Processes that ended and were not started again by what ended them, in words."""
    return [f"{row.name} {row.state}" for row in stack.status() if row.state not in ("ready", "starting")]


def remains(stack: Stack, client: Client, usual: Mapping[str, Held], num_requests: int) -> list[str]:
    """In words; empty where nothing is left. Waits for what is being cleared. `usual`: what processes hold after
    requests.
    """
    deadline, left = time.monotonic() + _BOUND_SECONDS, ["not looked"]
    while left and time.monotonic() < deadline:
        try:
            left = list(_remains(stack, client, usual, num_requests))
        except RequestError as error:
            left = [f"the gateway says {error}"]
        except URLError as error:
            left = [f"metrics are not served: {error}"]
        time.sleep(0.5 if left else 0.0)
    return left


def _remains(stack: Stack, client: Client, usual: Mapping[str, Held], num_requests: int) -> Iterator[str]:
    for row in stack.status():
        if row.state != "ready":
            yield f"{row.name} is {row.state}"
    if running := [request.request_id for request in client.list("state = running").requests]:
        yield f"running: {', '.join(running)}"
    if running := [batch.batch_id for batch in client.batches.list().batches if not is_over(batch)]:
        yield f"running: {', '.join(running)}"
    yield from _lasting_keys(stack)
    yield from _places(stack)
    for name, now in held(stack).items():
        yield from growth(name, now, usual[name], num_requests)
        for child in psutil.Process(now.pid).children(recursive=True):
            if child.status() == psutil.STATUS_ZOMBIE:
                yield f"{name} has a zombie"


def _places(stack: Stack) -> Iterator[str]:
    """Of streams in the gateway, and of sequences in the engines."""
    for process in stack.processes:
        if process.module and not process.speaks_http:
            for sample in stacks.metrics_of(stack, process.name):
                if sample.name in ("tandem_gateway_streams", "tandem_engine_requests") and sample.value:
                    yield f"{process.name} has {sample.value:.0f} of {sample.name} {dict(sample.labels)}"


def _lasting_keys(stack: Stack) -> Iterator[str]:
    with stacks.redis_of(stack) as redis:
        for key in redis.scan_iter():
            if redis.ttl(key) == -1 and not key.startswith(_KEPT_KEYS):
                yield f"{key} has no time to live"
