"""The process of a model: load, serve, drain; and what the processes of both models that write text have in common."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Protocol

import grpc

from services.models.engine.api import RunningModel
from services.models.engine.registry import make_engine
from services.models.generation.attempt_log import AttemptLog, UnloggedAttempt
from services.models.generation.journal import Journal
from services.models.generation.role_generator import GenerationEvent, RoleGenerator, RoleWork
from services.models.settings import ModelServiceSettings
from services.shared.observability import metrics, tracing
from services.shared.process.callers import Callers
from services.shared.process.redis import open_request_log
from services.shared.process.served_profiles import Reread, ServedProfiles, rereading, shared_model
from services.shared.process.server import Server, serve
from services.shared.process.settings import read_settings
from services.shared.process.transport import PLAIN, Transport, own_transport
from services.shared.request_log.connection import Role
from services.shared.request_log.log import RequestLog
from services.shared.request_log.stops import StopSignal
from tandem.errors import SetupError
from tandem.method.problems import problems
from tandem.method.profile.profile import Model, Profile
from tandem.method.request.job import Step
from tandem.method.request.request import SolveRequest
from tandem.v1 import execution_pb2

logger = logging.getLogger(__name__)


def open_engine(spec: str, arguments: dict[str, Any]) -> RunningModel:
    """`make_engine`'s. Raises SetupError where there is no such engine, or its arguments do not suit it."""
    try:
        return make_engine(spec, arguments)
    except (ValueError, ImportError, AttributeError) as error:
        raise SetupError(f"TANDEM_ENGINE {spec!r}: {problems(error)}") from error


async def run_model_process(
    server: Server,
    settings: ModelServiceSettings,
    engines: Sequence[RunningModel],
    log: RequestLog,
    then: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGTERM. `then` runs when the engines have loaded, before any call is served. Raises what either
    raises.
    """

    async def load() -> None:
        await asyncio.gather(*(asyncio.to_thread(engine.start) for engine in engines))
        logger.info("engine is ready")
        then()

    def is_alive() -> bool:
        return all(engine.is_alive for engine in engines)

    try:
        await serve(server, settings.drain, settings.unready_pause, load, is_alive=is_alive)
    finally:
        await asyncio.gather(*(asyncio.to_thread(engine.stop) for engine in engines))
        await log.close()
        tracing.shutdown()


class AddService(Protocol):
    """Adds the service of a model that writes text to a server. The first of `profiles` is its default."""

    def __call__(
        self, server: Server, engine: RunningModel, log: RequestLog, *profiles: Profile,
        reread: Reread | None = ..., journal: Journal | None = ...,
    ) -> None: ...  # fmt: skip


@dataclass(frozen=True, slots=True)
class ModelRole:
    """What a process does for one model of a pair. `service`: the name of its gRPC service."""

    name: str
    service: str
    callers: Callers
    add: AddService

    def model_of(self, profile: Profile) -> Model:
        return profile.models[self.name]

    def served(self, profiles: Sequence[Profile]) -> Sequence[Profile]:
        """Those that have a model in this role. Raises SetupError where none has."""
        found = [profile for profile in profiles if self.name in profile.models]
        if not found:
            raise SetupError(f"{' and '.join(profile.name for profile in profiles)}: no model has the role {self.name}")
        return found

    def build(
        self, host: str, port: int, engine: RunningModel, log: RequestLog, *profiles: Profile,
        reread: Reread | None = None, transport: Transport = PLAIN,
    ) -> Server:  # fmt: skip
        """A server of this role alone."""
        server = Server(host, port, [self.service], transport=transport, callers=self.callers)
        self.add(server, engine, log, *profiles, reread=reread)
        return server


async def run_generator(process: str, *roles: ModelRole) -> None:
    """Run the process of the models that have these roles in its profiles, by the settings of the environment.

    Two roles share a process only where others run both models: an engine of this machine takes cores and memory of its
    own.
    """
    settings = read_settings(ModelServiceSettings)
    tracing.setup(f"tandem-{process}", settings.log_level)
    profiles = settings.load_profiles()
    metrics.expose(settings.host, settings.metrics_port, process)
    transport, log = own_transport(), open_request_log(settings.sealer())
    names = [role.service for role in roles]
    server = Server(settings.host, settings.port, names, transport=transport, callers=roles[0].callers)
    engines: dict[str, RunningModel] = {}
    for role in roles:
        served = role.served(profiles)
        model = shared_model(served, role.model_of)
        if len(roles) > 1 and model.api is None:
            raise SetupError(f"{model.name} runs on this machine: it needs a process of its own")
        engine = open_engine(settings.engine_for(model), settings.engine_arguments(model))
        reread = rereading(partial(_reload, settings, role), role.model_of, served[0])
        journal = Journal(settings.journal_folder / role.name)
        role.add(server, engine, log, *served, reread=reread, journal=journal)
        engines[role.name] = engine
    metrics.watch_engines(engines)
    await run_model_process(server, settings, list(engines.values()), log)


def _reload(settings: ModelServiceSettings, role: ModelRole) -> Sequence[Profile]:
    return role.served(settings.load_profiles())


class ModelGenerator(ABC):
    """One role of a request, with the prompts of the profile that the request was planned with."""

    def __init__(self, engine: RunningModel, profiles: ServedProfiles, generator: RoleGenerator) -> None:
        self.engine, self.running = engine, generator.running
        self._profiles, self._generator = profiles, generator

    async def generate(self, request: SolveRequest, step: Step) -> AsyncGenerator[GenerationEvent, None]:
        """Take the role's text over, resume after what an earlier attempt finished, report each stage, end with the
        outcome.

        Raises FailedPrecondition (another profile, or the log has no such stage), Fenced, Unavailable and EngineError.
        Closing the generator aborts the engine.
        """
        own, work = await self._begin(await self._profiles.of(step.profile_digest), request, step)
        async with aclosing(self._generator.run(step, own, work)) as events:
            async for event in events:
                yield event

    @abstractmethod
    async def _begin(
        self, profile: Profile, request: SolveRequest, step: Step
    ) -> tuple[AttemptLog | UnloggedAttempt, RoleWork]:
        """The taken over stream, and what is written to it."""


class ModelService:
    """The calls that the services of both models answer alike. `profile` is for requests that name none."""

    role: ClassVar[Role]

    def __init__(self, generator: ModelGenerator, profile: str) -> None:
        self._engine, self._running, self._profile = generator.engine, generator.running, profile

    async def Abort(
        self, request: execution_pb2.AbortRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> execution_pb2.AbortResponse:
        stop = StopSignal(request.request_id, self.role, request.epoch, request.decided_at_unix_ms / 1000)
        return execution_pb2.AbortResponse(aborted=self._running.stop(stop))

    async def GetModelInfo(
        self, request: execution_pb2.GetModelInfoRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> execution_pb2.GetModelInfoResponse:
        info, counters = self._engine.info, self._engine.counters
        return execution_pb2.GetModelInfoResponse(
            model=info.name,
            revision=info.revision,
            dtype=info.dtype,
            device=info.device,
            parameters=info.parameters,
            context_length=info.context_length,
            engine=info.engine,
            engine_version=info.engine_version,
            input_tokens_total=counters.input_tokens,
            output_tokens_total=counters.output_tokens,
        )
