"""What the services of both models answer alike: aborts, and what the engine runs."""

from __future__ import annotations

from services.engine.api import Engine
from services.generation.attempts import RunningAttempts
from services.request_log.connection import Role
from services.request_log.stops import StopSignal
from tandem.v1 import execution_pb2


def abort_response(
    request: execution_pb2.AbortRequest, role: Role, running: RunningAttempts
) -> execution_pb2.AbortResponse:
    stop = StopSignal(request.request_id, role, request.epoch, request.decided_at_unix_ms / 1000)
    return execution_pb2.AbortResponse(aborted=running.stop(stop))


def model_info(engine: Engine) -> execution_pb2.GetModelInfoResponse:
    info = engine.info
    return execution_pb2.GetModelInfoResponse(
        model=info.name,
        revision=info.revision,
        dtype=info.dtype,
        device=info.device,
        parameters=info.parameters,
        context_length=info.context_length,
        engine=info.engine,
        engine_version=info.engine_version,
        input_tokens_total=engine.counters.input_tokens,
        output_tokens_total=engine.counters.output_tokens,
    )
