"""Start the insight generator: `python -m services.insight_generator`."""

from __future__ import annotations

import uvloop

from services.engine.registry import make_engine
from services.insight_generator.generator import InsightGenerator
from services.insight_generator.service import NAME, InsightGeneratorService
from services.observability import metrics, tracing
from services.process.callers import Callers
from services.process.model_process import run_model_process
from services.process.server import Server
from services.process.settings import ModelServiceSettings, read_settings
from services.process.transport import own_transport
from services.request_log.connection import Role
from services.request_log.log import RequestLog
from tandem.method.profile import load_profile
from tandem.v1 import insight_pb2_grpc


async def main() -> None:
    settings = read_settings(ModelServiceSettings)
    tracing.setup("tandem-insight-generator", settings.log_level)
    profile = load_profile(settings.profile, settings.profile_folders)
    metrics.expose(settings.host, settings.metrics_port)
    transport = own_transport()
    engine = make_engine(settings.engine, settings.engine_arguments(profile.llm))
    metrics.watch_engine(engine, "llm")
    log = RequestLog(settings.redis_url, settings.request_ttl, settings.sealer())
    generator = InsightGenerator(engine, log, profile)
    server = Server(settings.host, settings.port, [NAME], transport=transport, callers=Callers.only("worker"))
    insight_pb2_grpc.add_InsightGeneratorServicer_to_server(
        InsightGeneratorService(generator, engine, profile.name), server.grpc
    )
    await run_model_process(server, settings, engine, log, Role.INSIGHT, generator.running)


if __name__ == "__main__":
    uvloop.run(main())
