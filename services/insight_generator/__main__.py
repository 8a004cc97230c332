"""Start the insight generator: `python -m services.insight_generator`."""

from __future__ import annotations

from services.insight_generator.generator import InsightGenerator
from services.insight_generator.service import CALLERS, NAME, InsightGeneratorService
from services.observability import metrics, tracing
from services.process.model_process import open_engine, run_model_process
from services.process.redis import open_request_log
from services.process.served_profiles import rereading, shared_model
from services.process.server import Server
from services.process.settings import ModelServiceSettings, read_settings
from services.process.start import run
from services.process.transport import own_transport
from tandem.method.profile import Model, Profile
from tandem.v1 import insight_pb2_grpc


def _model_of(profile: Profile) -> Model:
    return profile.llm


async def main() -> None:
    settings = read_settings(ModelServiceSettings)
    tracing.setup("tandem-insight-generator", settings.log_level)
    profiles = settings.load_profiles()
    metrics.expose(settings.host, settings.metrics_port)
    transport = own_transport()
    model = shared_model(profiles, _model_of)
    engine = open_engine(settings.engine, settings.engine_arguments(model))
    metrics.watch_engine(engine, "llm")
    log = open_request_log(settings.sealer())
    generator = InsightGenerator(
        engine, log, *profiles, reread=rereading(settings.load_profiles, _model_of, profiles[0])
    )
    server = Server(settings.host, settings.port, [NAME], transport=transport, callers=CALLERS)
    insight_pb2_grpc.add_InsightGeneratorServicer_to_server(
        InsightGeneratorService(generator, engine, profiles[0].name), server.grpc
    )
    await run_model_process(server, settings, engine, log)


if __name__ == "__main__":
    run(main)
