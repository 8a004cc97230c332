"""tandem.v1.SlmExecutor: convert, call, convert."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import Any

import grpc

from services.models.engine.api import RunningModel
from services.models.generation.journal import Journal
from services.models.generation.role_generator import GenerationStarted
from services.models.model_process import ModelRole, ModelService
from services.shared.process.callers import Callers
from services.shared.process.served_profiles import Reread
from services.shared.process.server import Server
from services.shared.request_log.connection import Role
from services.shared.request_log.log import RequestLog
from services.slm_executor.generator import AnswerGenerator
from tandem.convert.outcomes import begun_to_pb, finished_to_pb, prefill_response_to_pb
from tandem.convert.requests import step_from_pb
from tandem.convert.values import counts_to_pb
from tandem.method.evidence.begun_answer import Begun
from tandem.method.profile.profile import Profile
from tandem.method.request.tasks import GenerationOutcome
from tandem.method.roles import SLM
from tandem.v1 import execution_pb2, execution_pb2_grpc

NAME = execution_pb2.DESCRIPTOR.services_by_name["SlmExecutor"].full_name
CALLERS = Callers.only("worker")
_ABORT_AGAIN_SECONDS = 0.05


class SlmExecutorService(ModelService, execution_pb2_grpc.SlmExecutorServicer):
    role = Role.ANSWER

    def __init__(self, generator: AnswerGenerator, profile: str) -> None:
        super().__init__(generator, profile)
        self._generator = generator

    async def Execute(
        self, request: execution_pb2.ExecuteRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[execution_pb2.ExecuteEvent]:
        model = self._engine.info.name
        async with aclosing(self._generator.generate(*step_from_pb(request, SLM, self._profile))) as events:
            async for event in events:
                if isinstance(event, GenerationStarted | Begun | GenerationOutcome):  # an answer has no stages
                    yield _event(event, model)

    async def Prefill(
        self, request: execution_pb2.PrefillRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> execution_pb2.PrefillResponse:
        prefiller = self._generator.prefiller
        prefill = asyncio.ensure_future(prefiller.prefill(*step_from_pb(request, SLM, self._profile)))
        try:
            return prefill_response_to_pb(*await asyncio.shield(prefill))
        except asyncio.CancelledError:  # the caller disconnected; the computed tokens are still counted
            while not prefill.done():
                prefiller.abort_stage(request.request_id, request.stage)  # another stage's may run by now
                await asyncio.wait({prefill}, timeout=_ABORT_AGAIN_SECONDS)
            raise

    async def Abort(
        self, request: execution_pb2.AbortRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> execution_pb2.AbortResponse:
        if request.only_prefill:
            return execution_pb2.AbortResponse(aborted=self._generator.prefiller.abort(request.request_id))
        return await super().Abort(request, context)


def _add(
    server: Server, engine: RunningModel, log: RequestLog, *profiles: Profile,
    reread: Reread | None = None, journal: Journal | None = None, role: str = "slm",
) -> None:  # fmt: skip
    generator = AnswerGenerator(engine, log, *profiles, reread=reread, journal=journal, role=role)
    service = SlmExecutorService(generator, profiles[0].name)
    execution_pb2_grpc.add_SlmExecutorServicer_to_server(service, server.grpc)


def model_role(role: str = SLM) -> ModelRole:
    """The service by one of a profile's small models; each has a process of its own."""
    return ModelRole(role, NAME, CALLERS, partial(_add, role=role))


def _event(event: GenerationStarted | Begun | GenerationOutcome, model: str) -> execution_pb2.ExecuteEvent:
    if isinstance(event, Begun):
        return execution_pb2.ExecuteEvent(begun=begun_to_pb(event))
    if isinstance(event, GenerationStarted):
        started = execution_pb2.ExecuteStarted(
            resumed_tokens=event.at.tokens, logged=event.is_logged, previous_epoch=event.at.previous_epoch
        )
        return execution_pb2.ExecuteEvent(started=started, usage=counts_to_pb(model, event.at.earlier))
    finished = finished_to_pb(event, execution_pb2.ExecuteFinished)
    return execution_pb2.ExecuteEvent(finished=finished, usage=counts_to_pb(model, event.counts))
