"""Start the SLM executor: `python -m services.slm_executor`."""

from __future__ import annotations

import uvloop

from services.engine.registry import make_engine
from services.observability import metrics, tracing
from services.process.callers import Callers
from services.process.model_process import run_model_process
from services.process.server import Server
from services.process.settings import ModelServiceSettings, read_settings
from services.process.transport import own_transport
from services.request_log.connection import Role
from services.request_log.log import RequestLog
from services.slm_executor.generator import AnswerGenerator
from services.slm_executor.service import NAME, SlmExecutorService
from tandem.method.profile import load_profile
from tandem.v1 import execution_pb2_grpc


async def main() -> None:
    settings = read_settings(ModelServiceSettings)
    tracing.setup("tandem-slm-executor", settings.log_level)
    profile = load_profile(settings.profile, settings.profile_folders)
    metrics.expose(settings.host, settings.metrics_port)
    transport = own_transport()
    engine = make_engine(settings.engine, settings.engine_arguments(profile.slm))
    metrics.watch_engine(engine, "slm")
    log = RequestLog(settings.redis_url, settings.request_ttl, settings.sealer())
    generator = AnswerGenerator(engine, log, profile)
    server = Server(settings.host, settings.port, [NAME], transport=transport, callers=Callers.only("worker"))
    execution_pb2_grpc.add_SlmExecutorServicer_to_server(
        SlmExecutorService(generator, engine, profile.name), server.grpc
    )
    await run_model_process(server, settings, engine, log, Role.ANSWER, generator.running)


if __name__ == "__main__":
    uvloop.run(main())
