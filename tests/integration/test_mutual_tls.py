"""Processes know each other by certificates: who may call whom, what a stranger finds, and certificates that change."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import grpc
import pytest

from services.gateway.__main__ import CALLERS as GATEWAY_CALLERS
from services.gateway.service import NAME as GATEWAY
from services.shared.process.callers import Callers
from services.shared.process.channels import open_channel
from services.shared.process.server import Server
from services.shared.process.transport import PLAIN, Transport, certificate_changes
from services.shared.request_log.log import RequestLog
from services.slm_executor.service import NAME as EXECUTOR
from services.sufficiency_scorer import __main__ as sufficiency_scorer
from tandem.local.certificates import Authority
from tandem.method.profile.profile import load_profile
from tandem.v1 import execution_pb2, execution_pb2_grpc
from tests.certificates import issue
from tests.fakes import ScriptedEngine

pytestmark = pytest.mark.asyncio(loop_scope="session")
BOUND_SECONDS = 60.0
CODES = grpc.StatusCode


class Executor(execution_pb2_grpc.SlmExecutorServicer):
    """Tells its model at once; `Execute` says that it has begun, and ends when it is let go."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()

    async def GetModelInfo(
        self, request: execution_pb2.GetModelInfoRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> execution_pb2.GetModelInfoResponse:
        return execution_pb2.GetModelInfoResponse(model="small")

    async def Execute(
        self, request: execution_pb2.ExecuteRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[execution_pb2.ExecuteEvent]:
        yield execution_pb2.ExecuteEvent()
        await self.may_end.wait()
        yield execution_pb2.ExecuteEvent(finished=execution_pb2.ExecuteFinished(text=request.request_id))


@dataclass(frozen=True, slots=True)
class Ports:
    main: int
    internal: int


@contextlib.asynccontextmanager
async def running(
    transport: Transport, callers: Callers, executor: Executor | None = None, name: str = EXECUTOR
) -> AsyncIterator[Ports]:
    server = Server("127.0.0.1", 0, [name], transport=transport, callers=callers)
    execution_pb2_grpc.add_SlmExecutorServicer_to_server(executor or Executor(), server.grpc)
    ports = Ports(server.port, server.listen_for_processes(0))
    await server.start()
    await server.serving()
    try:
        yield ports
    finally:
        await server.stop(timedelta(0))


async def outcome(port: int, transport: Transport = PLAIN) -> grpc.StatusCode:
    """Of a call of the executor's, by a peer that presents `transport`."""
    async with open_channel(f"127.0.0.1:{port}", transport) as channel:
        return await outcome_over(channel)


async def outcome_over(channel: grpc.aio.Channel) -> grpc.StatusCode:
    try:
        await execution_pb2_grpc.SlmExecutorStub(channel).GetModelInfo(
            execution_pb2.GetModelInfoRequest(), timeout=BOUND_SECONDS
        )
    except grpc.aio.AioRpcError as error:
        return error.code()
    return CODES.OK


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


async def test_a_process_calls_no_server_of_another_authority(authority: Authority, tmp_path: Path) -> None:
    impostor = issue(tmp_path, Authority(), "slm-executor", trusted=authority.pem)
    worker = issue(tmp_path, authority, "worker")
    async with running(impostor.transport(), Callers.only("worker")) as server:
        assert await outcome(server.main, worker.transport()) is CODES.UNAVAILABLE
    async with running(PLAIN, Callers.only("worker")) as server:
        assert await outcome(server.main, worker.transport()) is CODES.UNAVAILABLE


async def test_a_worker_of_another_trust_domain_is_refused(authority: Authority, tmp_path: Path) -> None:
    executor = issue(tmp_path, authority, "slm-executor").transport(trust_domain="elsewhere")
    async with running(executor, Callers.only("worker")) as server:
        assert await outcome(server.main, issue(tmp_path, authority, "worker").transport()) is CODES.PERMISSION_DENIED


async def test_only_clients_may_call_in_clear_text_and_only_where_the_operator_says_so(
    authority: Authority, tmp_path: Path
) -> None:
    transport = issue(tmp_path, authority, "gateway").transport(is_public_encrypted=False)
    async with running(transport, GATEWAY_CALLERS, name=GATEWAY) as server:
        assert await outcome(server.main) is CODES.OK
        assert await outcome(server.internal) is CODES.UNAVAILABLE


@contextlib.asynccontextmanager
async def scorer_with(transport: Transport, redis_url: str, profiles_folder: Path) -> AsyncIterator[int]:
    profile = load_profile("scripted", (profiles_folder,))
    log, engine = RequestLog(redis_url, timedelta(hours=1)), ScriptedEngine("scripted-slm")
    scorer = sufficiency_scorer.build("127.0.0.1", 0, engine, log, profile, transport=transport)
    scorer.load()
    await scorer.grpc.start()
    await scorer.grpc.serving()
    yield scorer.grpc.port
    await scorer.grpc.stop(timedelta(0))
    await log.close()


async def test_a_pod_reached_by_its_address_must_show_the_services_name(authority: Authority, tmp_path: Path) -> None:
    executor, worker = (issue(tmp_path, authority, name).transport() for name in ("slm-executor", "worker"))
    async with running(executor, Callers.only("worker")) as server:
        pods = AsyncMock(return_value=[f"127.0.0.1:{server.main}"])
        for name, expected in (("localhost", CODES.OK), ("other.test", CODES.UNAVAILABLE)):
            async with open_channel(f"dns:///{name}:{server.main}", worker, pods) as channel:
                channel.get_state(try_to_connect=True)
                await asyncio.sleep(0.5)  # until the pod's own channel has connected
                assert await outcome_over(channel) is expected


async def test_grpc_gets_a_certificate_again_when_it_has_changed_alone(authority: Authority, tmp_path: Path) -> None:
    """A connection that begins while gRPC takes one, on another thread, may end the process."""
    files = issue(tmp_path, authority, "slm-executor")
    watched = files.transport().certificate
    assert watched is not None
    changes = certificate_changes(watched, watched.value)
    assert changes() is None
    files.write(authority, "slm-executor")
    assert changes() is not None
    assert changes() is None


async def test_certificates_and_their_authority_change_under_calls_in_flight(tmp_path: Path) -> None:
    old, new = Authority(), Authority()
    names = ("slm-executor", "worker")
    files = {name: issue(tmp_path, old, name) for name in names}
    stranger = issue(tmp_path, old, "worker-of-before").write(old, "worker", trusted=new.pem + old.pem)
    executor = Executor()
    async with (
        running(files["slm-executor"].transport(), Callers.only("worker"), executor) as server,
        open_channel(f"127.0.0.1:{server.main}", files["worker"].transport()) as channel,
    ):
        stub = execution_pb2_grpc.SlmExecutorStub(channel)
        calls: list[Any] = []

        async def begin(number: int) -> None:
            for _ in range(number):
                call = stub.Execute(execution_pb2.ExecuteRequest(request_id=str(len(calls))), timeout=BOUND_SECONDS)
                await call.read()  # it is in flight
                calls.append(call)

        await begin(20)
        for signer, trusted in ((old, old.pem + new.pem), (new, old.pem + new.pem), (new, new.pem)):
            for name in names:
                files[name].write(signer, name, trusted)
                await begin(5)
        assert await outcome(server.main, stranger.transport()) is CODES.UNAVAILABLE
        executor.may_end.set()
        texts = [(await call.read()).finished.text for call in calls]
    assert texts == [str(number) for number in range(50)]


async def test_a_channel_is_closed_when_the_last_call_with_its_certificate_ends(
    authority: Authority, tmp_path: Path
) -> None:
    files, executor = issue(tmp_path, authority, "worker"), Executor()
    opened: list[grpc.aio.Channel] = []

    def open_one(credentials: grpc.ChannelCredentials) -> grpc.aio.Channel:
        opened.append(grpc.aio.secure_channel(f"127.0.0.1:{server.main}", credentials))
        return opened[-1]

    async with running(
        issue(tmp_path, authority, "slm-executor").transport(), Callers.only("worker"), executor
    ) as server:
        channel = files.transport().secured(open_one)
        assert channel is not None
        call = execution_pb2_grpc.SlmExecutorStub(channel).Execute(execution_pb2.ExecuteRequest())
        await call.read()
        files.write(authority, "worker")
        assert await outcome_over(channel) is CODES.OK
        assert [each.get_state() for each in opened] == [grpc.ChannelConnectivity.READY] * 2
        executor.may_end.set()
        assert (await call.read()).HasField("finished")
        assert await call.read() is grpc.aio.EOF
        async with asyncio.timeout(BOUND_SECONDS):
            while opened[0].get_state() is not grpc.ChannelConnectivity.SHUTDOWN:
                await asyncio.sleep(0.01)
        assert await outcome_over(channel) is CODES.OK
        assert len(opened) == 2
        await channel.close(None)
