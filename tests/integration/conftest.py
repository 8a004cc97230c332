from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from opentelemetry import trace
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from temporalio.client import Client as TemporalClient
from temporalio.contrib.opentelemetry import OpenTelemetryPlugin, create_tracer_provider
from temporalio.converter import DataConverter
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from services.answer_checker.sandbox.layers import NAMESPACES
from services.answer_checker.sandbox.limits import Limits as CheckLimits
from services.batches.files import Files
from services.batches.service import BATCHES, FILES
from services.batches.temporal import BatchWorkflows
from services.engine.torch_engine.compiled import compile_model
from services.file_store.store import FileStore
from services.gateway.__main__ import add_batches, tenants_in
from services.gateway.admission import Admission
from services.gateway.batched import BatchedRequests
from services.gateway.readers import Limits
from services.gateway.service import NAME as GATEWAY
from services.gateway.service import TandemService
from services.gateway.spending import Spending
from services.gateway.temporal import Workflows, find_search_attributes
from services.gateway.tenancy import Tenancy
from services.identity.authentication import Authentication
from services.insight_generator.generator import InsightGenerator
from services.insight_generator.service import NAME as GENERATOR
from services.insight_generator.service import InsightGeneratorService
from services.observability.text import TextlessExporter
from services.process.payload_codec import NOT_ENCRYPTED
from services.process.server import Server
from services.request_log.log import RequestLog
from services.slm_executor.generator import AnswerGenerator
from services.slm_executor.service import NAME as EXECUTOR
from services.slm_executor.service import SlmExecutorService
from services.sufficiency_scorer.scorers import make_scorer
from services.sufficiency_scorer.server import ScorerServer
from services.sufficiency_scorer.service import SufficiencyModel
from services.sufficiency_scorer.stage_scorer import StageScorer
from services.sufficiency_scorer.stage_scorers import StageScorers
from tandem import AsyncClient
from tandem.contract import MAX_REQUEST_BYTES
from tandem.v1 import execution_pb2_grpc, insight_pb2_grpc, tandem_pb2_grpc
from tests.fakes import ScriptedEngine
from tests.integration.backends import (
    BACKENDS,
    COMPILED_THREADS,
    Backend,
    make_backend,
    serve_api,
)
from tests.integration.checking import Running, run_checker
from tests.integration.edge import serving
from tests.integration.profiles import SECONDS, served_profile
from tests.integration.request_logs import Logs, request_logs
from tests.tiny_gguf import write_tiny_gguf
from tests.tiny_model import write_tiny_model
from workflows.activities import Activities, ServiceAddresses
from workflows.worker import WorkerSettings, make_workers

SPANS = InMemorySpanExporter()
TTL, IDLE_SECONDS, NO_CHECKER = timedelta(hours=1), 120.0, "127.0.0.1:1"
NO_AUTHENTICATION = Authentication()
SANDBOX = SandboxedWorkflowRunner(
    SandboxRestrictions.default.with_passthrough_modules("workflows", "services", "protos", "google", "redis")
)


@dataclass
class System:
    """Real servers of one profile on free ports, around scripted engines."""

    client: AsyncClient
    llm: ScriptedEngine
    slm: ScriptedEngine
    judge: ScriptedEngine
    log: RequestLog
    temporal: TemporalClient
    service: TandemService
    scorer_address: str
    executor_address: str
    generator_address: str
    tenancy: Tenancy
    workflows: Workflows

    def idle(self) -> bool:
        return not (self.llm.running or self.slm.running)


@pytest.fixture(scope="session", autouse=True)
def tracing() -> None:
    provider = create_tracer_provider()
    provider.add_span_processor(SimpleSpanProcessor(TextlessExporter(SPANS)))
    trace.set_tracer_provider(provider)


@contextlib.asynccontextmanager
async def run_system(
    profile_name: str, folder: Path, redis_url: str | Logs, temporal_address: str, checker: str = NO_CHECKER, *,
    authentication: Authentication = NO_AUTHENTICATION, converter: DataConverter = NOT_ENCRYPTED, alias: str = "", files: str = "",
    tenants: Path | None = None, clock: Callable[[], datetime] = lambda: datetime.now(UTC), unavailable_seconds: float = SECONDS,
) -> AsyncIterator[System]:  # fmt: skip
    """`alias` gives the system task queues of its own: without it, workers of two systems of a profile share the work."""
    profile = served_profile(profile_name, folder, alias, unavailable_seconds)
    profile_name = profile.name
    logs = request_logs(redis_url, TTL)
    log = logs["gateway"]
    llm, slm, judge_engine = (ScriptedEngine(n) for n in ("scripted-llm", "scripted-slm", "scripted-slm"))
    insight = InsightGenerator(llm, logs["insight-generator"], profile)
    answer = AnswerGenerator(slm, logs["slm-executor"], profile)
    generator, executor = Server("127.0.0.1", 0, [GENERATOR]), Server("127.0.0.1", 0, [EXECUTOR])
    insight_pb2_grpc.add_InsightGeneratorServicer_to_server(
        InsightGeneratorService(insight, llm, profile.name), generator.grpc
    )
    execution_pb2_grpc.add_SlmExecutorServicer_to_server(SlmExecutorService(answer, slm, profile.name), executor.grpc)
    untrained = make_scorer(profile.stop.scorer, profile.folder)
    stage_scorer = StageScorer(judge_engine, logs["sufficiency-scorer"], profile, untrained)
    scorer = ScorerServer("127.0.0.1", 0)
    scorer.add(SufficiencyModel(StageScorers(profile, make=lambda _: stage_scorer), profile.slm.name))
    for server in (generator, executor, scorer.grpc):
        await server.start()
        await server.serving()
    addresses = ServiceAddresses(
        f"127.0.0.1:{generator.port}", f"127.0.0.1:{scorer.grpc.port}", f"127.0.0.1:{executor.port}", checker
    )
    activities = Activities(addresses, logs["worker"], files)
    temporal = await TemporalClient.connect(
        temporal_address, data_converter=converter, plugins=[OpenTelemetryPlugin(add_temporal_spans=True)]
    )
    settings = WorkerSettings(profile=profile_name, drain=timedelta(0))
    gateway = Server("127.0.0.1", 0, [GATEWAY, FILES, BATCHES], [authentication.check], receive_limit=MAX_REQUEST_BYTES)
    admission = Admission({profile_name: profile}, profile_name, {profile_name: len})
    workflows = Workflows(temporal, await find_search_attributes(temporal), is_fair=tenants is not None)
    tenancy = Tenancy(tenants_in(tenants), log.accounts, Spending(temporal, workflows.is_searchable), clock)
    limits = Limits(64, timedelta(milliseconds=200))
    service = TandemService(admission, workflows, log, limits, tenancy, gateway.slow_readers.end_slowest)
    tandem_pb2_grpc.add_TandemServiceServicer_to_server(service, gateway.grpc)
    batched = BatchedRequests(admission, workflows, tenancy, asyncio.get_running_loop())
    store = FileStore(files)
    add_batches(gateway, Files(store), store, BatchWorkflows(temporal, workflows.is_searchable), batched)
    await gateway.start()
    await gateway.serving()
    async with contextlib.AsyncExitStack() as stack:
        for worker in make_workers(temporal, settings, activities, SANDBOX):
            await stack.enter_async_context(worker)
        client = await stack.enter_async_context(AsyncClient(f"127.0.0.1:{gateway.port}"))
        yield System(
            client, llm, slm, judge_engine, log, temporal, service,
            addresses.sufficiency_scorer, addresses.slm_executor, addresses.insight_generator,
            tenancy, workflows,
        )  # fmt: skip
    for server in (gateway, generator, executor, scorer.grpc):
        await server.stop(timedelta(0))
    await activities.close()
    await asyncio.gather(*(each.close() for each in logs.values()))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def system(redis_url: str, temporal_address: str, profiles_folder: Path) -> AsyncIterator[System]:
    async with run_system("scripted", profiles_folder, redis_url, temporal_address) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def brief_system(redis_url: str, temporal_address: str, profiles_folder: Path) -> AsyncIterator[System]:
    async with run_system("scripted-brief", profiles_folder, redis_url, temporal_address) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def finishing_system(redis_url: str, temporal_address: str, profiles_folder: Path) -> AsyncIterator[System]:
    async with run_system("scripted-finishing", profiles_folder, redis_url, temporal_address) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shadowed_system(redis_url: str, temporal_address: str, profiles_folder: Path) -> AsyncIterator[System]:
    async with run_system("scripted-shadow", profiles_folder, redis_url, temporal_address) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def checker_address() -> AsyncIterator[str]:
    """A real answer checker."""
    async with run_checker(limits=CheckLimits()) as running:
        yield running.address


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def checker() -> AsyncIterator[Running]:
    async with run_checker() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def in_a_pod() -> AsyncIterator[Running]:
    """A checker as in a pod: no namespaces, but landlock and seccomp."""
    async with run_checker(without=(NAMESPACES,)) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def http(system: System) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(system.client.address) as client:
        yield client


CheckedSystems = Callable[[str], Awaitable[System]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def checked_systems(
    redis_url: str, temporal_address: str, profiles_folder: Path, checker_address: str
) -> AsyncIterator[CheckedSystems]:
    """Systems that check answers, by profile, started when a test first asks for one."""
    running: dict[str, System] = {}
    async with contextlib.AsyncExitStack() as stack:

        async def system_of(profile: str) -> System:
            if profile not in running:
                system = run_system(profile, profiles_folder, redis_url, temporal_address, checker_address)
                running[profile] = await stack.enter_async_context(system)
            return running[profile]

        yield system_of


_SYSTEMS = ("system", "brief_system", "finishing_system", "shadowed_system")


@pytest_asyncio.fixture(autouse=True, loop_scope="session")
async def _engines_are_left_idle(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """The next test counts tokens: what a test leaves running ends before."""
    yield
    for name in set(_SYSTEMS) & set(request.fixturenames):
        used: System = request.getfixturevalue(name)
        async with asyncio.timeout(IDLE_SECONDS):
            while not used.idle():
                await asyncio.sleep(0.01)


@pytest.fixture(scope="session")
def compiled_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with code compiled ahead, for COMPILED_THREADS."""
    folder = write_tiny_model(tmp_path_factory.mktemp("compiled"))
    compile_model(folder, "float32", COMPILED_THREADS)
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_tiny_model(tmp_path_factory.mktemp("tiny"), head_dim=32)  # the least that vLLM computes on a CPU
    write_tiny_gguf(folder)
    return folder


@pytest.fixture(scope="module")
def api_port(checkpoint: Path) -> Iterator[int]:
    with serve_api(checkpoint) as port:
        yield port


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request: pytest.FixtureRequest, checkpoint: Path) -> Iterator[Backend]:
    backend = make_backend(request.param, checkpoint, request.getfixturevalue)
    yield backend
    backend.close()
