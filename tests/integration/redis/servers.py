"""Real Redis servers as operators run them, on free ports: a primary with Sentinels, and a cluster."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from redis import Redis
from redis.exceptions import RedisError

from tandem.local.ports import free_port
from tandem.local.probes import answers_ping
from tandem.paths import find_binary
from tests.conftest import wait_until

SERVICE = "tandem"
_DETECTION_MS = 5000  # a server that waits for a busy processor is not taken for dead
SLOTS = 16384
_BUS = 10_000  # a node of a cluster also listens on its port and this
_START_ATTEMPTS = 5


@dataclass
class RedisNodes:
    """Running servers by port. `access` are options of redis-py that a test needs to enter them."""

    url: str
    processes: dict[int, psutil.Popen]
    data: tuple[int, ...]
    access: dict[str, Any] = field(default_factory=dict)

    def call(self, port: int, *command: object) -> Any:
        return call(port, *command, **self.access)

    def primaries(self) -> list[int]:
        alive = [port for port in self.data if self.processes[port].is_running()]
        return [port for port in alive if self.call(port, "ROLE")[0] == b"master"]

    def kill(self, port: int) -> None:
        self.processes[port].kill()
        self.processes[port].wait()


@contextlib.contextmanager
def run_cluster(
    folder: Path, options: Sequence[str] = (), access: dict[str, Any] | None = None
) -> Iterator[RedisNodes]:
    """Three primaries, each with a replica."""
    with contextlib.ExitStack() as stack:
        own = ["--cluster-enabled", "yes", "--cluster-node-timeout", str(_DETECTION_MS), *options]
        processes = dict(stack.enter_context(_server(folder, own, needs_bus=True)) for _ in range(6))
        ports = tuple(processes)
        url = "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in ports)
        nodes = RedisNodes(url, processes, ports, access or {})
        _form_cluster(nodes)
        yield nodes


@contextlib.contextmanager
def run_sentinels(
    folder: Path, options: Sequence[str] = (), of_sentinels: Sequence[str] = (), access: dict[str, Any] | None = None
) -> Iterator[RedisNodes]:
    """A primary, two replicas and three Sentinels, two of which must agree."""
    with contextlib.ExitStack() as stack:
        primary, process = stack.enter_context(_server(folder, options))
        following = ["--replicaof", "127.0.0.1", str(primary), *options]
        data = {primary: process} | dict(stack.enter_context(_server(folder, following)) for _ in range(2))
        watching = _watching(primary, of_sentinels)
        sentinels = dict(stack.enter_context(_sentinel(folder, watching)) for _ in range(3))
        url = "redis+sentinel://" + ",".join(f"127.0.0.1:{port}" for port in sentinels) + f"/{SERVICE}"
        nodes = RedisNodes(url, data | sentinels, tuple(data), access or {})
        for port in sentinels:
            wait_until(lambda: _sees_all(port))  # noqa: B023
        yield nodes


def call(port: int, *command: object, **access: Any) -> Any:
    with contextlib.closing(Redis(port=port, socket_timeout=5, **access)) as redis:
        return redis.execute_command(*command)


def _form_cluster(nodes: RedisNodes) -> None:
    first, *others = nodes.data
    primaries, replicas = nodes.data[:3], nodes.data[3:]
    for number, port in enumerate(primaries):
        begin, end = (SLOTS * n // 3 for n in (number, number + 1))
        nodes.call(port, "CLUSTER ADDSLOTS", *range(begin, end))
        nodes.call(port, "CLUSTER SET-CONFIG-EPOCH", number + 1)
    for port in others:
        nodes.call(first, "CLUSTER MEET", "127.0.0.1", port)
    for port in nodes.data:
        wait_until(lambda: _info(nodes, port).get("cluster_known_nodes") == "6")  # noqa: B023
    for primary, replica in zip(primaries, replicas, strict=True):
        name = nodes.call(primary, "CLUSTER MYID").decode()
        wait_until(lambda: _replicates(nodes, replica, name))  # noqa: B023
    for port in nodes.data:
        wait_until(lambda: _info(nodes, port).get("cluster_state") == "ok")  # noqa: B023
    for port in replicas:
        wait_until(lambda: nodes.call(port, "ROLE")[3] == b"connected")  # noqa: B023


def _info(nodes: RedisNodes, port: int) -> dict[str, str]:
    found = nodes.call(port, "CLUSTER INFO")
    return found if isinstance(found, dict) else dict(line.split(":") for line in found.decode().split())


def _replicates(nodes: RedisNodes, port: int, name: str) -> bool:
    """Asked again until this node has heard that the other is a primary."""
    with contextlib.suppress(RedisError):
        nodes.call(port, "CLUSTER REPLICATE", name)
        return True
    return False


def _sees_all(port: int) -> bool:
    with contextlib.closing(Redis(port=port, socket_timeout=5)) as redis:
        state = redis.sentinel_masters()[SERVICE]
    return (state["num-slaves"], state["num-other-sentinels"], state["flags"]) == (2, 2, "master")


def _watching(primary: int, more: Sequence[str]) -> list[str]:
    return [
        f"sentinel monitor {SERVICE} 127.0.0.1 {primary} 2",
        f"sentinel down-after-milliseconds {SERVICE} {_DETECTION_MS}",
        f"sentinel failover-timeout {SERVICE} 8000",
        *more,
    ]


@contextlib.contextmanager
def _sentinel(folder: Path, lines: Sequence[str]) -> Iterator[tuple[int, psutil.Popen]]:
    def command(port: int, home: Path) -> list[str]:
        file = home / "sentinel.conf"
        file.write_text("\n".join([f"port {port}", "bind 127.0.0.1", f"dir {home}", *lines]) + "\n")
        return [_program(), str(file), "--sentinel"]

    with _running(folder, command, needs_bus=False) as running:
        yield running


@contextlib.contextmanager
def _server(folder: Path, options: Sequence[str], *, needs_bus: bool = False) -> Iterator[tuple[int, psutil.Popen]]:
    def command(port: int, home: Path) -> list[str]:
        own = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(home)]
        return [_program(), *own, "--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0", *options]

    with _running(folder, command, needs_bus=needs_bus) as running:
        yield running


@contextlib.contextmanager
def _running(folder: Path, command: Any, *, needs_bus: bool) -> Iterator[tuple[int, psutil.Popen]]:
    """A server that finds its port taken is started on another one."""
    for _ in range(_START_ATTEMPTS):
        port = _port(needs_bus)
        home = folder / str(port)
        home.mkdir()
        process = psutil.Popen(command(port, home), stdout=(home / "log").open("w"), stderr=subprocess.STDOUT)
        try:
            wait_until(lambda: process.poll() is not None or answers_ping(port) or _asks_for_login(port))  # noqa: B023
            if process.poll() is None:
                yield port, process
                return
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    raise RuntimeError(f"a Redis server ended {_START_ATTEMPTS} times before it was ready")


def _port(needs_bus: bool) -> int:
    while True:
        port = free_port()
        with socket.socket() as probe, contextlib.suppress(OSError):
            if needs_bus:
                probe.bind(("127.0.0.1", port + _BUS))
            return port


def _asks_for_login(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(16).startswith(b"-NOAUTH")
    return False


def _program() -> str:
    return str(find_binary("redis-server"))


@contextlib.contextmanager
def run_server_with_users(folder: Path, lines: Callable[[int], Sequence[str]]) -> Iterator[int]:
    """One that knows only the users of an ACL file, whose `lines` depend on Redis's major version, and `tester`, who
    may all.
    """
    version = subprocess.run([_program(), "--version"], capture_output=True, text=True, check=True).stdout
    [major] = re.findall(r"v=(\d+)\.", version)
    file = folder / "users.acl"
    file.write_text("\n".join([*lines(int(major)), "user tester on >tester ~* &* +@all"]) + "\n")
    # else Redis 7 and Valkey refuse DEBUG to all, whoever asks, and the users' rules are not seen
    more = ["--enable-debug-command", "yes"] if int(major) >= 7 else []
    with _server(folder, ["--aclfile", str(file), *more]) as (port, _):
        yield port
