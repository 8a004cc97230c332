"""Executors of one name, each at an address of the loopback of its own."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from services.shared.process.channels import open_channel
from services.shared.process.server import Server
from services.shared.request_log.log import RequestLog
from services.slm_executor.service import model_role
from tandem.convert.requests import execute_request_to_pb
from tandem.local.ports import free_port
from tandem.method.profile.profile import load_profile
from tandem.v1 import execution_pb2_grpc
from tests.fakes import ScriptedEngine
from tests.steps import Asked
from workflows.activities.model_call import place_of

BOUND_SECONDS = 60.0


@dataclass
class Pods:
    """Executors at 127.0.0.1, 127.0.0.2 and so on, and those of them that their name stands for; `looks` at it are
    counted.
    """

    engines: Sequence[Any]
    port: int = field(default_factory=free_port)
    servers: list[Server] = field(default_factory=list)
    named: tuple[int, ...] = ()
    looks: int = 0

    async def start(self, log: RequestLog, profiles: Path) -> None:
        profile = load_profile("scripted", (profiles,))
        for number, engine in enumerate(self.engines):
            self.servers.append(model_role().build(f"127.0.0.{number + 1}", self.port, engine, log, profile))
            await self.servers[-1].start()
            await self.servers[-1].serving()
        self.named = tuple(range(len(self.servers)))

    async def addresses(self, _name: str) -> list[str]:
        self.looks += 1
        return [f"127.0.0.{number + 1}:{self.port}" for number in self.named]

    async def rename(self, *numbers: int) -> None:
        """As soon as the client has followed: a pod's endpoint is gone from the name before the pod is told to end."""
        self.named = numbers
        looked = self.looks
        await until(lambda: self.looks > looked + 1)

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[execution_pb2_grpc.SlmExecutorStub]:
        """Calls to the name, as soon as its pods are connected."""
        async with open_channel(f"dns:///127.0.0.1:{self.port}", resolve=self.addresses) as channel:
            await channel.channel_ready()
            await asyncio.sleep(0.3)
            yield execution_pb2_grpc.SlmExecutorStub(channel)


@contextlib.asynccontextmanager
async def pods_of(log: RequestLog, profiles: Path, engines: Sequence[Any]) -> AsyncIterator[Pods]:
    pods = Pods(engines)
    await pods.start(log, profiles)
    try:
        yield pods
    finally:
        await asyncio.gather(*(each.stop(timedelta(0)) for each in pods.servers))


def scripted(number: int) -> list[ScriptedEngine]:
    return [ScriptedEngine(f"slm-{each}") for each in range(number)]


async def until(is_so: Callable[[], bool]) -> float:
    """Seconds."""
    began = time.monotonic()
    async with asyncio.timeout(BOUND_SECONDS):
        while not is_so():
            await asyncio.sleep(0.02)
    return time.monotonic() - began


async def executed(stub: Any, task: Asked, *, is_placed: bool = True) -> Any:
    """The last event of an answer. Raises what the call raises."""
    place = place_of(*task) if is_placed else ()
    call = stub.Execute(execute_request_to_pb(*task), timeout=BOUND_SECONDS, metadata=place)
    return [event async for event in call][-1]
