"""Every port of a process by every other process: docs/access.md has the table that comes of it.

The servers have the callers that the processes' own code names; the certificates are those of a real authority.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from kserve.protocol.grpc import grpc_predict_v2_pb2 as oip
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as oip_grpc

from services.shared.identity.authentication import ApiKeys, Authentication
from services.shared.process.channels import open_channel
from services.shared.process.server import Server
from services.shared.process.transport import Transport
from services.sufficiency_scorer.service import MODEL_NAME
from tandem.access.keys import KeyFile
from tandem.local.certificates import Authority
from tandem.local.layout import OWN_PROCESSES
from tandem.local.ports import free_port
from tandem.v1 import execution_pb2, execution_pb2_grpc
from tests.certificates import issue
from tests.integration.access.processes import SERVED
from tests.integration.test_mutual_tls import BOUND_SECONDS, Executor, scorer_with
from tests.tables import assert_table

pytestmark = pytest.mark.asyncio(loop_scope="session")
SCORER = "sufficiency-scorer"
PROCESSES = [process.name for process in OWN_PROCESSES]
NAMED = ("worker", "http-gateway")
HEAD = ["port", "stranger", *NAMED, "other processes"]
Ask = Callable[[grpc.aio.Channel], Awaitable[object]]


@dataclass(frozen=True)
class Peers:
    """Who calls: each process, and strangers who speak TLS without a certificate or with one of another authority."""

    authority: Authority
    processes: dict[str, Transport]
    stranger: Transport

    async def row(self, port: int, ask: Ask) -> list[str]:
        """How the call ends, by the columns of the table."""
        anonymous = grpc.aio.secure_channel(f"127.0.0.1:{port}", grpc.ssl_channel_credentials(self.authority.pem))
        strangers = {await ended(anonymous, ask), await ended(open_channel(f"127.0.0.1:{port}", self.stranger), ask)}
        found = {
            name: await ended(open_channel(f"127.0.0.1:{port}", transport), ask)
            for name, transport in self.processes.items()
        }
        named = [found.pop(name) for name in NAMED]
        return [_each(strangers), *named, _each(set(found.values()))]


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Peers:
    folder, authority = tmp_path_factory.mktemp("peers"), Authority()
    processes = {name: issue(folder, authority, name).transport() for name in (*PROCESSES, "probe")}
    stranger = issue(tmp_path_factory.mktemp("stranger"), Authority(), "worker", trusted=authority.pem).transport()
    return Peers(authority, processes, stranger)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyFile:
    return KeyFile(tmp_path_factory.mktemp("keys") / "keys.json")


async def ended(channel: grpc.aio.Channel, ask: Ask) -> str:
    async with channel:
        try:
            await ask(channel)
        except grpc.aio.AioRpcError as error:
            return "no connection" if error.code() is grpc.StatusCode.UNAVAILABLE else error.code().name
    return "yes"


def _each(outcomes: set[str]) -> str:
    """One, where all end alike."""
    return " or ".join(sorted(outcomes))


async def model_info(channel: grpc.aio.Channel, credential: str = "") -> None:
    metadata = [("authorization", f"Bearer {credential}")] if credential else []
    stub = execution_pb2_grpc.SlmExecutorStub(channel)
    await stub.GetModelInfo(execution_pb2.GetModelInfoRequest(), timeout=BOUND_SECONDS, metadata=metadata)


async def model_ready(channel: grpc.aio.Channel) -> None:
    await oip_grpc.GRPCInferenceServiceStub(channel).ModelReady(oip.ModelReadyRequest(name=MODEL_NAME))


async def unload(channel: grpc.aio.Channel) -> None:
    stub = oip_grpc.GRPCInferenceServiceStub(channel)
    await stub.RepositoryModelUnload(oip.RepositoryModelUnloadRequest(model_name=MODEL_NAME), timeout=BOUND_SECONDS)


async def load(channel: grpc.aio.Channel) -> None:
    stub = oip_grpc.GRPCInferenceServiceStub(channel)
    await stub.RepositoryModelLoad(oip.RepositoryModelLoadRequest(model_name=MODEL_NAME), timeout=BOUND_SECONDS)


async def health(channel: grpc.aio.Channel) -> None:
    await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=BOUND_SECONDS)


async def reflection(channel: grpc.aio.Channel) -> None:
    """A stream that the server refuses while the client still writes may end as INTERNAL, by its reset: it is asked
    again.
    """
    try:
        await _reflect(channel)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.INTERNAL:
            raise
        await _reflect(channel)


async def _reflect(channel: grpc.aio.Channel) -> None:
    asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    await reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(asked, timeout=BOUND_SECONDS).read()


@contextlib.asynccontextmanager
async def serving(process: str, transport: Transport, authentication: Authentication) -> AsyncIterator[Server]:
    """A server with the callers of `process`. What it serves is the small model's interface; the worker serves none."""
    served, checks = SERVED[process], [authentication.check] if process == "gateway" else []
    server = Server("127.0.0.1", 0, [served.service], checks, transport=transport, callers=served.callers)
    if process != "worker":
        execution_pb2_grpc.add_SlmExecutorServicer_to_server(Executor(), server.grpc)
    if process != "gateway":
        await server.start()
        await server.serving()
    try:
        yield server
    finally:
        await server.stop(timedelta(0))


async def internal_rows(peers: Peers, redis_url: str, profiles: Path) -> list[list[str]]:
    """Of the ports that no client calls, and what they all have in common."""
    rows, healths, reflections = [], [], []
    for process in SERVED:
        if process == "gateway":
            continue
        async with contextlib.AsyncExitStack() as stack:
            transport = peers.processes[process]
            if process == SCORER:
                port = await stack.enter_async_context(scorer_with(transport, redis_url, profiles))
                both = [await peers.row(port, ask) for ask in (load, unload)]
                assert both[0] == both[1]
                rows.append([f"{process}: load and unload a model", *both[0]])
            else:
                port = (await stack.enter_async_context(serving(process, transport, Authentication()))).port
            rows.append([process, *await peers.row(port, model_ready if process == SCORER else model_info)])
            healths.append(await peers.row(port, health))
            reflections.append(await peers.row(port, reflection))
            assert await ended(grpc.aio.insecure_channel(f"127.0.0.1:{port}"), health) == "no connection"
    for words, found in (("these: health", healths), ("these: reflection", reflections)):
        assert found == [found[0]] * len(found), words
        rows.append([words, *found[0]])
    return rows


async def gateway_rows(peers: Peers, keys: KeyFile) -> list[list[str]]:
    secret = keys.create("tenant")[1]
    async with serving("gateway", peers.processes["gateway"], Authentication(ApiKeys(keys.path))) as server:
        ports = {"gateway, for clients": server.port, "gateway, for the HTTP gateway": server.listen_for_processes(0)}
        await server.start()
        await server.serving()
        rows = []
        for words, port in ports.items():
            without = await peers.row(port, model_info)
            with_one = await peers.row(port, lambda channel: model_info(channel, secret))
            rows.append([words, *map(_by_credential, without, with_one)])
            rows.append([f"{words}: health, reflection", *await peers.row(port, health)])
            assert rows[-1][1:] == await peers.row(port, reflection)
            assert await ended(grpc.aio.insecure_channel(f"127.0.0.1:{port}"), health) == "no connection"
        return rows


def _by_credential(without: str, with_one: str) -> str:
    if (without, with_one) == ("UNAUTHENTICATED", "yes"):
        return "by credential"
    assert without == with_one
    return without


async def health_port_row(peers: Peers, folder: Path) -> list[str]:
    """In clear text, where nobody can be told from anybody else."""
    port = free_port()
    transport = issue(folder, peers.authority, "worker").transport(health_port=port)
    async with serving("worker", transport, Authentication()):
        answers = [await ended(grpc.aio.insecure_channel(f"127.0.0.1:{port}"), ask) for ask in (health, model_info)]
    assert answers == ["yes", "UNIMPLEMENTED"]
    return ["`TANDEM_HEALTH_PORT`, in clear text: health", *["yes"] * (len(HEAD) - 1)]


async def test_each_process_may_call_what_the_documents_say(
    peers: Peers, keys: KeyFile, redis_url: str, profiles_folder: Path, tmp_path: Path
) -> None:
    rows = await internal_rows(peers, redis_url, profiles_folder) + await gateway_rows(peers, keys)
    assert_table("access.md", "access between processes", HEAD, [*rows, await health_port_row(peers, tmp_path)])


async def test_the_table_has_every_process_with_the_service_that_its_health_names() -> None:
    served = {process: each.service for process, each in SERVED.items()}
    assert served == {process.name: process.health for process in OWN_PROCESSES if not process.speaks_http}
