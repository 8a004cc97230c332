"""tandem.v1.SlmExecutor: convert, call, convert."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc

from services.engine.api import Engine
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
from services.slm_executor.intern import AheadTask, AnswerDone, AnswerEvent, AnswerStarted, AnswerTask, Intern
from tandem.method.sampling import Sampling
from tandem.v1 import execution_pb2, execution_pb2_grpc

NAME = execution_pb2.DESCRIPTOR.services_by_name["SlmExecutor"].full_name
_ABORT_AGAIN_SECONDS = 0.05


class SlmExecutorService(execution_pb2_grpc.SlmExecutorServicer):
    def __init__(self, intern: Intern, engine: Engine) -> None:
        self._intern, self._engine = intern, engine

    async def Execute(
        self, request: execution_pb2.ExecuteRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[execution_pb2.ExecuteEvent]:
        model = self._engine.info.name
        async with aclosing(self._intern.answer(_task(request))) as events:
            async for event in events:
                yield _event(event, model)

    async def ReadAhead(
        self, request: execution_pb2.ReadAheadRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> execution_pb2.ReadAheadResponse:
        reading = asyncio.ensure_future(self._intern.read_ahead(_ahead_task(request)))
        try:
            ahead = await asyncio.shield(reading)
        except asyncio.CancelledError:  # the caller has left; what was read is counted all the same
            while not reading.done():
                self._intern.stop_ahead(request.request_id)
                await asyncio.wait({reading}, timeout=_ABORT_AGAIN_SECONDS)
            raise
        return execution_pb2.ReadAheadResponse(
            input_tokens=ahead.computed,
            cached_input_tokens=ahead.cached,
            request_input_tokens=ahead.request_computed,
            request_cached_input_tokens=ahead.request_cached,
        )

    async def Abort(
        self, request: execution_pb2.AbortRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> execution_pb2.AbortResponse:
        if request.only_ahead:
            return execution_pb2.AbortResponse(aborted=self._intern.stop_ahead(request.request_id))
        stop = Stop(request.request_id, Role.ANSWER, request.epoch, request.decided_at_unix_ms / 1000)
        return execution_pb2.AbortResponse(aborted=self._intern.running.stop(stop))

    async def GetModelInfo(
        self, request: execution_pb2.GetModelInfoRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> execution_pb2.GetModelInfoResponse:
        return model_info(self._engine)


def _task(request: execution_pb2.ExecuteRequest) -> AnswerTask:
    return AnswerTask(
        request_id=request.request_id,
        epoch=request.epoch,
        question=request.question,
        stage=request.stage,
        max_tokens=request.max_tokens,
        sampling=Sampling(**sampling_arguments(request.sampling)),
        task=task_name(request.task),
        prices=prices_of(request.prices),
    )


def _ahead_task(request: execution_pb2.ReadAheadRequest) -> AheadTask:
    return AheadTask(
        request_id=request.request_id,
        question=request.question,
        stage=request.stage,
        prices=prices_of(request.prices),
        task=task_name(request.task),
    )


def _event(event: AnswerEvent, model: str) -> execution_pb2.ExecuteEvent:
    match event:
        case AnswerStarted():
            started = execution_pb2.ExecuteStarted(
                resumed_tokens=event.at.tokens, logged=event.is_logged, previous_epoch=event.at.previous_epoch
            )
            return execution_pb2.ExecuteEvent(started=started)
        case AnswerDone():
            finished = execution_pb2.ExecuteFinished(
                reason=finish_reason(event.attempt.reason),
                text=event.text,
                tokens=event.tokens,
                first_token_at_unix_ms=milliseconds(event.attempt.first_token_at),
                halted_at_unix_ms=event.attempt.halted_at * 1000,
                continued=event.continued,
            )
            return execution_pb2.ExecuteEvent(finished=finished, usage=usage_of(model, event.attempt))
