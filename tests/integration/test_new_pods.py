"""Pods come and go behind a name while streams run. On addresses of the loopback."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.shared.process import server, service_channel
from services.shared.process.server import SERVER_OPTIONS
from services.shared.request_log.log import RequestLog
from tandem.client.gateway import Gateway
from tandem.local.ports import free_port
from tandem.method.timeouts import Timeouts
from tests.integration.loopback_pods import BOUND_SECONDS, executed, pods_of, scripted, until
from tests.integration.request_logs import open_log
from tests.name_server import name_server
from tests.steps import asked

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(240)]
_AGE = "grpc.max_connection_age_ms"
_UNSENT = "Pending writes failed due to stream closure (GOAWAY received"


@pytest_asyncio.fixture(loop_scope="session")
async def log(redis_url: str) -> AsyncIterator[RequestLog]:
    async with open_log(redis_url) as log:
        yield log


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_channel, "RESOLVE_SECONDS", 0.2)


@pytest.fixture
def ages_fast(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Connections are renewed a hundred times as often."""
    options = dict(SERVER_OPTIONS)
    assert options[_AGE] <= 60_000
    assert options["grpc.max_connection_age_grace_ms"] > Timeouts.client_deadline.total_seconds() * 1000
    renewed = list({**options, _AGE: options[_AGE] // 100}.items())
    monkeypatch.setattr(server, "SERVER_OPTIONS", renewed)
    return renewed


class Callers:
    """Each asks one question after the other, and reads every answer to its end. `answered`: by pod.

    gRPC does not repeat a call by itself whose connection reaches its age before the call's first bytes are written. It
    is asked again, as a worker does.
    """

    def __init__(self, stub: Any, number: int = 12) -> None:
        self._stub, self._is_over = stub, False
        self.answered, self.lost, self.errors = Counter[str](), Counter[int](), list[str]()
        self._tasks = [asyncio.ensure_future(self._ask_on(each)) for each in range(number)]

    async def _ask_on(self, number: int) -> None:
        while not self._is_over:
            task = asked(uuid4().hex, f"[slm_eos=30 ms=5] {uuid4()}", "scripted", max_tokens=(64,), epoch=1)
            try:
                self.answered[(await executed(self._stub, task)).usage.model] += 1
            except grpc.aio.AioRpcError as error:
                if _UNSENT in str(error.details()):
                    continue
                self.lost[number] += 1
                self.errors.append(f"{error.code().name}: {error.details()}")

    async def end(self) -> None:
        self._is_over = True
        await asyncio.gather(*self._tasks)


async def test_new_pods_have_their_share_at_the_next_look_and_no_answer_is_lost_as_they_come_and_go(
    log: RequestLog, profiles_folder: Path, ages_fast: object
) -> None:
    async with pods_of(log, profiles_folder, scripted(3)) as pods:
        pods.named = (0,)
        async with pods.connected() as stub:
            callers = Callers(stub)
            await until(lambda: callers.answered["slm-0"] > 20)
            assert set(callers.answered) == {"slm-0"}
            callers.answered.clear()
            pods.named = (0, 1, 2)
            seconds = await until(lambda: min(callers.answered[f"slm-{n}"] for n in range(3)) > 10)
            assert max(callers.answered.values()) < 60
            print(f"a third pod had its share after {seconds:.1f} s: {dict(callers.answered)}")
            await pods.rename(0)
            await until(lambda: not (pods.engines[1].running or pods.engines[2].running))
            await asyncio.gather(*(each.stop(timedelta(seconds=20)) for each in pods.servers[1:]))
            callers.answered.clear()
            await until(lambda: callers.answered["slm-0"] > 30)
            await callers.end()
    assert (callers.errors, set(callers.answered)) == ([], {"slm-0"})


async def test_a_pod_that_dies_unannounced_costs_each_caller_the_answer_that_ran_there(
    log: RequestLog, profiles_folder: Path
) -> None:
    async with pods_of(log, profiles_folder, scripted(3)) as pods, pods.connected() as stub:
        callers = Callers(stub)
        await until(lambda: min(callers.answered[f"slm-{n}"] for n in range(3)) > 5)
        await until(lambda: pods.engines[2].running)
        await pods.servers[2].stop(timedelta(0))
        callers.answered.clear()
        await until(lambda: callers.answered.total() > 100)
        await callers.end()
    assert callers.lost.total() <= 12
    assert set(callers.lost.values()) <= {
        1,
        2,
    }  # two of a caller that asked again before the end of the connection was heard
    assert callers.answered["slm-2"] <= 12


async def test_a_client_of_the_gateway_finds_new_gateways_when_its_connection_is_renewed(
    ages_fast: list[tuple[str, int]],
) -> None:
    asked, port = Counter[str](), free_port()

    class Health(health_pb2_grpc.HealthServicer):
        def __init__(self, address: str) -> None:
            self._address = address

        async def Check(self, request: Any, context: Any) -> health_pb2.HealthCheckResponse:
            asked[self._address] += 1
            return health_pb2.HealthCheckResponse()

        async def Watch(self, request: Any, context: Any) -> AsyncIterator[health_pb2.HealthCheckResponse]:
            for _ in range(40):
                yield health_pb2.HealthCheckResponse()
                await asyncio.sleep(0.1)

    gateways, addresses = [], ("127.0.0.1", "127.0.0.2", "127.0.0.3")
    for address in addresses:
        gateways.append(grpc.aio.server(options=ages_fast))
        health_pb2_grpc.add_HealthServicer_to_server(Health(address), gateways[-1])
        gateways[-1].add_insecure_port(f"{address}:{port}")
        await gateways[-1].start()
    async with name_server(addresses[0]) as names:
        gateway = Gateway(f"dns://127.0.0.1:{names.port}/gateway.test:{port}")
        async with gateway.aio_channel() as channel:
            stub, request = health_pb2_grpc.HealthStub(channel), health_pb2.HealthCheckRequest()
            streams = [stub.Watch(request, timeout=BOUND_SECONDS) for _ in range(5)]
            reading = [asyncio.ensure_future(_count(stream)) for stream in streams]
            await stub.Check(request, timeout=BOUND_SECONDS)
            names.addresses = addresses
            async with asyncio.timeout(BOUND_SECONDS):
                while min(asked[address] for address in addresses) < 10:
                    await stub.Check(request, timeout=BOUND_SECONDS)
                    await asyncio.sleep(0.01)
            names.addresses = addresses[:1]
            await asyncio.gather(*(each.stop(20) for each in gateways[1:]))
            await stub.Check(request, timeout=BOUND_SECONDS)
            assert await asyncio.gather(*reading) == [40] * 5
    await gateways[0].stop(0)


async def _count(stream: Any) -> int:
    return len([each async for each in stream])
