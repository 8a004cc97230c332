"""Two stacks on one machine: their ports, and whose process answers on them."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from tandem.local.layout import PROCESSES, Process
from tandem.local.ports import HeldPorts, listens
from tandem.local.probes import is_serving
from tandem.local.supervisor import Stack

GATEWAY = next(process for process in PROCESSES if process.name == "gateway")


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
    held = HeldPorts([Process("any", 0, {"main": 0})])
    held.release_all()
    return held.numbers["any"]["main"]


def test_a_held_port_is_given_to_nobody_else_until_it_is_released(free: int) -> None:
    wanted = [Process("one", 0, {"main": free})]
    first = HeldPorts(wanted)
    second = HeldPorts(wanted)
    assert first.numbers["one"]["main"] == free
    assert second.numbers["one"]["main"] != free
    first.release("one")
    with socket.create_server(("127.0.0.1", free)):
        assert HeldPorts(wanted).numbers["one"]["main"] != free


def test_all_ports_of_a_plan_differ_although_they_prefer_the_same(free: int) -> None:
    held = HeldPorts([Process(name, 0, {"main": free, "metrics": free}) for name in ("one", "other")])
    ports = [port for purposes in held.numbers.values() for port in purposes.values()]
    assert len(set(ports)) == 4
    held.release_all()
