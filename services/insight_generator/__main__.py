"""Start the insight generator: `python -m services.insight_generator`."""

from __future__ import annotations

import uvloop

from services.engine.registry import make_engine
from services.insight_generator.mentor import Mentor
from services.insight_generator.service import NAME, InsightGeneratorService
from services.observability import metrics
from services.observability import tracing as telemetry
from services.process.model_process import run_model_process
from services.process.server import Server
from services.process.settings import ModelServiceSettings, read_settings
from services.request_log.log import RequestLog, Role
from tandem.method.profile import load_profile
from tandem.v1 import insight_pb2_grpc


async def main() -> None:
    settings = read_settings(ModelServiceSettings)
    telemetry.setup("tandem-insight-generator", settings.log_level)
    profile = load_profile(settings.profile, settings.profile_folders)
    metrics.expose(settings.host, settings.metrics_port)
    engine = make_engine(settings.engine, settings.engine_arguments(profile.llm))
    metrics.watch_engine(engine, "llm")
    log = RequestLog(settings.redis_url, settings.request_ttl)
    mentor = Mentor(engine, log, profile)
    server = Server(settings.host, settings.port, [NAME])
    insight_pb2_grpc.add_InsightGeneratorServicer_to_server(InsightGeneratorService(mentor, engine), server.grpc)
    await run_model_process(server, settings, engine, log, Role.INSIGHT, mentor.running)


if __name__ == "__main__":
    uvloop.run(main())
