"""Timeouts nest where they are used: call < attempt < activity < workflow < client deadline.

tests/integration/test_timeouts.py reads those of a real request from its history.
"""

from __future__ import annotations

import ast
import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import grpc
import pytest

from tandem import AsyncClient, Client
from tandem.method.evidence.python_parser import parse_program
from tandem.method.timeouts import Timeouts
from tandem.paths import REPOSITORY
from tandem.v1 import tandem_pb2, tandem_pb2_grpc


class Gateway(tandem_pb2_grpc.TandemServiceServicer):
    """Answers at once, and notes how long each client would have waited, in seconds."""

    def __init__(self) -> None:
        self.deadlines: list[float] = []

    async def Solve(self, request: Any, context: Any) -> AsyncIterator[tandem_pb2.SolveEvent]:
        self.deadlines.append(context.time_remaining())
        yield tandem_pb2.SolveEvent(completed=tandem_pb2.SolveResult())


def test_each_timeout_is_inside_the_next() -> None:
    calls_of_an_attempt = [Timeouts.stop_call, Timeouts.score_call]
    waits = [Timeouts.attempt, Timeouts.activity, Timeouts.workflow, Timeouts.client_deadline]
    assert all(shorter < longer for shorter, longer in pairwise(waits))
    assert max(calls_of_an_attempt) < Timeouts.attempt
    assert (
        2 * Timeouts.heartbeat_interval < Timeouts.heartbeat < Timeouts.attempt
    )  # one lost heartbeat is no dead worker


async def test_both_clients_wait_longer_than_a_workflow_may_run() -> None:
    gateway, server = Gateway(), grpc.aio.server()
    tandem_pb2_grpc.add_TandemServiceServicer_to_server(gateway, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    async with AsyncClient(address) as client:
        await client.ask("why?")
    with Client(address) as blocking:
        await asyncio.to_thread(blocking.ask, "why?")
    await server.stop(None)
    assert gateway.deadlines == [pytest.approx(Timeouts.client_deadline.total_seconds(), abs=60)] * 2
    assert min(gateway.deadlines) > Timeouts.workflow.total_seconds()


def test_no_timeout_is_dead() -> None:
    """Each is read somewhere in the product as `Timeouts.name`."""
    used = {
        node.attr
        for folder in ("tandem", "services", "workflows")
        for file in (REPOSITORY / folder).rglob("*.py")
        for node in ast.walk(parse_program(file.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Timeouts"
    }
    assert used == {name for name in vars(Timeouts) if not name.startswith("_")}
