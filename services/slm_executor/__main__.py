"""Start the SLM executor: `python -m services.slm_executor`."""

from __future__ import annotations

from services.engine.api import Engine
from services.process.model_process import run_generator
from services.process.served_profiles import Reread
from services.process.server import Server
from services.process.start import run
from services.process.transport import PLAIN, Transport
from services.request_log.log import RequestLog
from services.slm_executor.generator import AnswerGenerator
from services.slm_executor.service import CALLERS, NAME, SlmExecutorService
from tandem.method.profile import Profile
from tandem.v1 import execution_pb2_grpc


def build(
    host: str, port: int, engine: Engine, log: RequestLog, *profiles: Profile,
    reread: Reread | None = None, transport: Transport = PLAIN,
) -> Server:  # fmt: skip
    """The process around `engine`; the first profile is its default."""
    server = Server(host, port, [NAME], transport=transport, callers=CALLERS)
    service = SlmExecutorService(AnswerGenerator(engine, log, *profiles, reread=reread), profiles[0].name)
    execution_pb2_grpc.add_SlmExecutorServicer_to_server(service, server.grpc)
    return server


if __name__ == "__main__":
    run(lambda: run_generator("slm-executor", "slm", build))
