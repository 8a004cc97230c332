"""tandem.v1.InsightGenerator: convert, call, convert."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc

from services.engine.api import Engine
from services.insight_generator.mentor import InsightDone, InsightEvent, InsightTask, Mentor, Resumed, StageDone
from services.process.convert import (
    finish_reason,
    milliseconds,
    model_info,
    prices_of,
    sampling_arguments,
    task_name,
    usage_of,
)
from services.request_log.log import Role, Stop
from tandem.method.sampling import Sampling
from tandem.v1 import execution_pb2, insight_pb2, insight_pb2_grpc, tandem_pb2

NAME = insight_pb2.DESCRIPTOR.services_by_name["InsightGenerator"].full_name


class InsightGeneratorService(insight_pb2_grpc.InsightGeneratorServicer):
    def __init__(self, mentor: Mentor, engine: Engine) -> None:
        self._mentor, self._engine = mentor, engine

    async def Generate(
        self, request: insight_pb2.GenerateRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[insight_pb2.GenerateEvent]:
        model = self._engine.info.name
        async with aclosing(self._mentor.write(_task(request))) as events:
            async for event in events:
                yield _event(event, model)

    async def Abort(
        self, request: execution_pb2.AbortRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> execution_pb2.AbortResponse:
        stop = Stop(request.request_id, Role.INSIGHT, request.epoch, request.decided_at_unix_ms / 1000)
        return execution_pb2.AbortResponse(aborted=self._mentor.running.stop(stop))

    async def GetModelInfo(
        self, request: execution_pb2.GetModelInfoRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> execution_pb2.GetModelInfoResponse:
        return model_info(self._engine)


def _task(request: insight_pb2.GenerateRequest) -> InsightTask:
    return InsightTask(
        request_id=request.request_id,
        epoch=request.epoch,
        question=request.question,
        caps=tuple(request.stage_max_tokens),
        sampling=Sampling(**sampling_arguments(request.sampling)),
        task=task_name(request.task),
        prices=prices_of(request.prices),
        alone=request.alone,
    )


def _event(event: InsightEvent, model: str) -> insight_pb2.GenerateEvent:
    match event:
        case Resumed():
            started = insight_pb2.GenerateStarted(resumed_stage=event.at.stage, previous_epoch=event.at.previous_epoch)
            return insight_pb2.GenerateEvent(started=started)
        case StageDone():
            return insight_pb2.GenerateEvent(
                stage_completed=tandem_pb2.StageCompleted(stage=event.stage, tokens=event.tokens)
            )
        case InsightDone():
            finished = insight_pb2.GenerateFinished(
                reason=finish_reason(event.attempt.reason),
                text=event.text,
                tokens=event.tokens,
                halted_at_unix_ms=event.attempt.halted_at * 1000,
                first_token_at_unix_ms=milliseconds(event.attempt.first_token_at),
                usage_is_estimated=event.attempt.is_estimated,
            )
            return insight_pb2.GenerateEvent(finished=finished, usage=usage_of(model, event.attempt))
