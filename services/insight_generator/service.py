"""tandem.v1.InsightGenerator: convert, call, convert."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc

from services.insight_generator.generator import InsightGenerator
from services.models.engine.api import RunningModel
from services.models.generation.journal import Journal
from services.models.generation.role_generator import GenerationStarted, StageWritten
from services.models.model_process import ModelRole, ModelService
from services.shared.process.callers import Callers
from services.shared.process.served_profiles import Reread
from services.shared.process.server import Server
from services.shared.request_log.connection import Role
from services.shared.request_log.log import RequestLog
from tandem.convert.outcomes import finished_to_pb
from tandem.convert.requests import step_from_pb
from tandem.convert.values import counts_to_pb
from tandem.method.evidence.begun_answer import Begun
from tandem.method.profile.profile import Profile
from tandem.method.request.tasks import GenerationOutcome
from tandem.method.roles import LLM
from tandem.v1 import insight_pb2, insight_pb2_grpc, tandem_pb2

NAME = insight_pb2.DESCRIPTOR.services_by_name["InsightGenerator"].full_name
CALLERS = Callers.only("worker")


class InsightGeneratorService(ModelService, insight_pb2_grpc.InsightGeneratorServicer):
    role = Role.INSIGHT

    def __init__(self, generator: InsightGenerator, profile: str) -> None:
        super().__init__(generator, profile)
        self._generator = generator

    async def Generate(
        self, request: insight_pb2.GenerateRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[insight_pb2.GenerateEvent]:
        model = self._engine.info.name
        async with aclosing(self._generator.generate(*step_from_pb(request, LLM, self._profile))) as events:
            async for event in events:
                if not isinstance(event, Begun):  # which is told of compared answers alone
                    yield _event(event, model)


def _add(
    server: Server, engine: RunningModel, log: RequestLog, *profiles: Profile,
    reread: Reread | None = None, journal: Journal | None = None,
) -> None:  # fmt: skip
    service = InsightGeneratorService(
        InsightGenerator(engine, log, *profiles, reread=reread, journal=journal), profiles[0].name
    )
    insight_pb2_grpc.add_InsightGeneratorServicer_to_server(service, server.grpc)


ROLE = ModelRole(LLM, NAME, CALLERS, _add)


def _event(event: GenerationStarted | StageWritten | GenerationOutcome, model: str) -> insight_pb2.GenerateEvent:
    match event:
        case GenerationStarted(at=at):
            started = insight_pb2.GenerateStarted(resumed_stage=at.stage, previous_epoch=at.previous_epoch)
            return insight_pb2.GenerateEvent(started=started, usage=counts_to_pb(model, at.earlier))
        case StageWritten(stage=stage, tokens=tokens):
            completed = tandem_pb2.StageCompleted(stage=stage, tokens=tokens)
            return insight_pb2.GenerateEvent(stage_completed=completed)
    finished = finished_to_pb(event, insight_pb2.GenerateFinished)
    return insight_pb2.GenerateEvent(finished=finished, usage=counts_to_pb(model, event.counts))
