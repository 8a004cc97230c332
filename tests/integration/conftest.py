from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

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
from services.answer_checker.sandbox.layers import Limits as CheckLimits
from services.gateway import __main__ as gateway
from services.gateway.service import TandemService
from services.gateway.temporal import Workflows
from services.gateway.tenancy import Tenancy
from services.insight_generator.service import ROLE as LARGE
from services.models.engine.api import RunningModel
from services.shared.identity.authentication import Authentication
from services.shared.observability.text import TextlessExporter
from services.shared.process.temporal import NOT_ENCRYPTED
from services.shared.request_log import connection
from services.shared.request_log.log import RequestLog
from services.slm_executor.service import model_role
from services.sufficiency_scorer import __main__ as sufficiency_scorer
from tandem import AsyncClient
from tandem.method.evidence import checks
from tests.fakes import ScriptedEngine
from tests.integration.backends import (
    BACKENDS,
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
from workflows.activities.registry import Activities, ServiceAddresses
from workflows.worker import WorkerSettings, make_workers

if TYPE_CHECKING:
    from playwright.async_api import Browser

SPANS = InMemorySpanExporter()
TTL, IDLE_SECONDS, NO_CHECKER = timedelta(hours=1), 120.0, "127.0.0.1:1"
NOWHERE = NO_CHECKER
NONE: Mapping[str, RunningModel] = {}
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
    further: dict[str, ScriptedEngine]
    log: RequestLog
    temporal: TemporalClient
    service: TandemService
    scorer_address: str
    executor_address: str
    generator_address: str
    tenancy: Tenancy
    workflows: Workflows

    def idle(self) -> bool:
        return not any(each.running for each in (self.llm, self.slm, *self.further.values()))

    @property
    def second(self) -> ScriptedEngine:
        return self.further["second_slm"]


@pytest.fixture(scope="session", autouse=True)
def tracing() -> None:
    provider = create_tracer_provider()
    provider.add_span_processor(SimpleSpanProcessor(TextlessExporter(SPANS)))
    trace.set_tracer_provider(provider)


@pytest.fixture(scope="session", autouse=True)
def _redis_may_be_slow() -> Iterator[None]:
    """Where other work keeps the machine busy. Tests of these limits set them again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "_COMMAND_TIMEOUT_SECONDS", 30.0)
        patch.setattr(connection, "_BLOCKING_TIMEOUT_SECONDS", 31.0)
        yield


@pytest.fixture(scope="module", autouse=True)
def _trials_may_be_slow() -> Iterator[None]:
    """Where other work keeps the machine busy. Tests of a trial's limit give a lower one in the profile; unit tests in
    the same process have the real one.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "_LEAST_SECONDS", 120.0)
        yield


@contextlib.asynccontextmanager
async def run_system(
    profile_name: str,
    folder: Path,
    redis_url: str | Logs,
    temporal_address: str,
    checker: str = NO_CHECKER,
    *,
    authentication: Authentication = NO_AUTHENTICATION,
    converter: DataConverter = NOT_ENCRYPTED,
    alias: str = "",
    files: str = "",
    tenants: Path | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    unavailable_seconds: float = SECONDS,
    second_is_away: bool = False,
    endpoint: RunningModel | None = None,
    small: Mapping[str, RunningModel] = NONE,
) -> AsyncIterator[System]:
    """`alias` gives the system task queues of its own: without it, workers of two systems of a profile share the
    work. `endpoint`: the large model, where it is none that a script writes for; `small`: the same of further small
    ones, by role.
    """
    profile = served_profile(profile_name, folder, alias, unavailable_seconds)
    logs = request_logs(redis_url, TTL)
    log = logs["gateway"]
    llm, slm, judge_engine = (ScriptedEngine(f"scripted-{name}") for name in ("llm", "slm", "slm"))
    further = {role: ScriptedEngine(profile.models[role].name) for role in profile.small_roles[1:]}
    generator = LARGE.build("127.0.0.1", 0, endpoint or llm, logs["insight-generator"], profile)
    executor = model_role().build("127.0.0.1", 0, slm, logs["slm-executor"], profile)
    scorer = sufficiency_scorer.build("127.0.0.1", 0, judge_engine, logs["sufficiency-scorer"], profile)
    if not profile.stop.is_off:
        scorer.load()
    executors = {
        role: model_role(role).build("127.0.0.1", 0, small.get(role, engine), logs["slm-executor"], profile)
        for role, engine in further.items()
    }
    for model in (generator, executor, *executors.values(), scorer.grpc):
        await model.start()
        await model.serving()
    addresses = ServiceAddresses(
        f"127.0.0.1:{generator.port}", f"127.0.0.1:{scorer.grpc.port}", f"127.0.0.1:{executor.port}", checker,
        {role: NOWHERE if second_is_away else f"127.0.0.1:{each.port}" for role, each in executors.items()},
    )  # fmt: skip
    activities = Activities(addresses, logs["worker"], files)
    temporal = await TemporalClient.connect(
        temporal_address, data_converter=converter, plugins=[OpenTelemetryPlugin(add_temporal_spans=True)]
    )
    settings = WorkerSettings(profile=profile.name, drain=timedelta(0))
    gateway_settings = gateway.GatewaySettings(
        port=0, profiles=(profile.name,), files=files, tenants=tenants,
        max_requests=64, disconnect_grace=timedelta(milliseconds=200),
    )  # fmt: skip
    server = gateway.open_server(gateway_settings, authentication)
    built = await gateway.build(
        gateway_settings,
        {profile.name: profile},
        {profile.name: len},
        log,
        temporal,
        server,
        clock,
    )
    await server.start()
    await server.serving()
    async with contextlib.AsyncExitStack() as stack:
        for worker in make_workers(temporal, settings, activities, SANDBOX):
            await stack.enter_async_context(worker)
        client = await stack.enter_async_context(AsyncClient(f"127.0.0.1:{server.port}"))
        yield System(
            client, llm, slm, judge_engine, further, log, temporal, built.service,
            addresses.sufficiency_scorer, addresses.slm_executor, addresses.insight_generator,
            built.tenancy, built.workflows,
        )  # fmt: skip
    for each in (server, generator, executor, *executors.values(), scorer.grpc):
        await each.stop(timedelta(0))
    await activities.close()
    await asyncio.gather(*(each_log.close() for each_log in logs.values()))


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


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    from tests.browser import a_browser  # which imports Playwright: most tests need none

    async with a_browser() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def edge_address(system: System) -> AsyncIterator[str]:
    """Of an HTTP gateway before `system`."""
    async with serving(system.client.address) as http:
        yield str(http.base_url).rstrip("/")


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
