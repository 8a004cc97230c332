"""Two stacks on one machine: their ports, and whose process answers on them."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from concurrent import futures
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from tandem.local import ports
from tandem.local.layout import PROCESSES, Process, StackError
from tandem.local.ports import OwnPorts, free_port, listens
from tandem.local.probes import is_serving
from tandem.local.supervisor import Stack

GATEWAY = next(process for process in PROCESSES if process.name == "gateway")
ROUNDS = 50
STARTER = """
import json, socket, sys
from tandem.local.layout import PROCESSES
from tandem.local.ports import OwnPorts

for _ in range(int(sys.argv[1])):
    input()
    own = OwnPorts(PROCESSES)
    ports = [port for purposes in own.numbers.values() for port in purposes.values()]
    print(json.dumps(ports), flush=True)
    input()
    servers = [socket.create_server(("127.0.0.1", port)) for port in ports]
    print("true", flush=True)
    input()
    for server in servers:
        server.close()
    own.close()
    print("true", flush=True)
"""
_IP_LOCAL_PORT_RANGE = 51  # of Linux 6.3
needs_shared_bind = pytest.mark.skipif(sys.platform != "linux", reason="a port is bound twice on Linux alone")


@pytest.fixture
def foreign_gateway() -> Iterator[int]:
    """The port of a ready gateway that belongs to another stack."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    servicer = health.HealthServicer()
    servicer.set(GATEWAY.health, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None)


@pytest.fixture
def other_process() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process.pid
    process.kill()
    process.wait()


def test_another_stacks_gateway_does_not_make_ours_ready(
    tmp_path: Path, foreign_gateway: int, other_process: int
) -> None:
    stack = Stack(tmp_path, "any", {"gateway": {"main": foreign_gateway}})
    assert is_serving(foreign_gateway, GATEWAY.health)
    assert not stack._is_ready(GATEWAY, other_process)


def test_a_port_belongs_to_the_process_that_started_its_listener(free: int) -> None:
    code = "import socket; s = socket.create_server(('127.0.0.1', int(input()))); print('on', flush=True); input()"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(f"{free}\n")
        process.stdin.flush()
        assert process.stdout.readline() == "on\n"
        assert listens(process.pid, free)
        assert not listens(process.pid, free + 1)


@pytest.fixture
def free() -> int:
    return free_port()


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Bound to a port that the kernel gives to outgoing connections. On Linux no other process gets that while the
    socket is open, and who names the port can bind it too. The guard is not that of a stack of the user's.
    """
    monkeypatch.setattr(ports, "_PREFERRED_GUARD", free_port())
    with socket.socket() as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", 0))
        yield bound


@pytest.fixture
def preferred(kept: socket.socket) -> Process:
    port = kept.getsockname()[1]
    if sys.platform != "linux":
        kept.close()
    return Process("one", 0, {"main": port})


def test_two_stacks_that_start_together_never_choose_the_same_port() -> None:
    """50 times. Between the choice of a port and the start of its process nobody listens there."""
    command = [sys.executable, "-c", STARTER, str(ROUNDS)]
    with contextlib.ExitStack() as running:
        both = [
            running.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            for _ in range(2)
        ]
        for _ in range(ROUNDS):
            one, other = together(both)
            assert len(one) == len(other) == sum(len(process.ports) for process in PROCESSES)
            assert not set(one) & set(other)
            assert together(both) == [True, True]  # each listens on all of its own
            together(both)


def together(processes: list[subprocess.Popen[str]]) -> list[Any]:
    """Each takes its next step, and replies."""
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    return [json.loads(process.stdout.readline()) for process in processes if process.stdout]


@needs_shared_bind
def test_a_port_stays_a_stacks_own_while_its_process_is_down(preferred: Process) -> None:
    """What has inherited the sockets keeps the ports, although who chose them has closed them, and nobody listens
    there.
    """
    own = OwnPorts([preferred])
    port = own.numbers["one"]["main"]
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[each.fileno() for each in own.sockets]
    ) as keeper:
        own.close()
        with closing(OwnPorts([preferred])) as other:
            assert other.numbers["one"]["main"] != port
        with socket.create_server(("127.0.0.1", port)):  # as the stack's own process does
            pass
        keeper.communicate(b"\n")
    with closing(OwnPorts([preferred])) as next_stack:
        assert next_stack.numbers["one"]["main"] == port


@needs_shared_bind
def test_no_outgoing_connection_takes_a_preferred_port(kept: socket.socket, preferred: Process) -> None:
    """One that may come from this port alone fails once a stack alone has it, and is made from a port of another
    connection.
    """
    with socket.create_server(("127.0.0.1", 0)) as server, closing(OwnPorts([preferred])) as own:
        kept.close()
        with pytest.raises(OSError, match="Cannot assign"):
            _connect_from(own.numbers["one"]["main"], server)
        with socket.create_server(("127.0.0.1", 0)) as other, socket.create_connection(other.getsockname()) as known:
            _connect_from(known.getsockname()[1], server)


def _connect_from(port: int, server: socket.socket) -> None:
    """As the kernel chooses a port for a connection, from a range of one."""
    with socket.socket() as connection:
        try:
            connection.setsockopt(socket.IPPROTO_IP, _IP_LOCAL_PORT_RANGE, struct.pack("=I", port << 16 | port))
        except OSError:
            pytest.skip("needs Linux 6.3")
        connection.connect(server.getsockname())


def test_blocks_lie_outside_the_range_of_outgoing_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "range"
    monkeypatch.setattr(ports, "_RANGE", file)
    file.write_text("32768\t60999\n")
    everything = ports._first_ports()
    file.write_text("25000\t60999\n")
    assert [first for first in everything if first + ports._BLOCK < 25_000] == ports._first_ports()
    file.write_text("1024\t65535\n")
    assert ports._first_ports() == everything


def test_a_port_where_another_program_listens_is_left_to_it(preferred: Process) -> None:
    with socket.create_server(("127.0.0.1", preferred.ports["main"])), closing(OwnPorts([preferred])) as own:
        assert own.numbers["one"]["main"] != preferred.ports["main"]


def test_a_port_that_is_fixed_is_had_or_refused_by_its_number(preferred: Process, free: int) -> None:
    """An agent has it in its configuration, so that no other one will do."""
    first = Process("first", 0, {"main": free})  # it prefers the same port
    with closing(OwnPorts([first, preferred], {"one": free})) as own:
        assert own.numbers["one"]["main"] == free
        assert own.numbers["first"]["main"] != free
    with socket.create_server(("127.0.0.1", free)), pytest.raises(StackError, match=f"port {free} .* is taken"):
        OwnPorts([preferred], {"one": free})


def test_all_ports_of_a_plan_differ_although_they_prefer_the_same(free: int) -> None:
    wanted = [Process(name, 0, {"main": free, "metrics": free}) for name in ("one", "other")]
    with closing(OwnPorts(wanted)) as own:
        chosen = [port for purposes in own.numbers.values() for port in purposes.values()]
    assert len(set(chosen)) == 4
