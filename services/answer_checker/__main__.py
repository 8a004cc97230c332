"""Start the answer checker: `python -m services.answer_checker`."""

from __future__ import annotations

import sys

from services.answer_checker.checker import AnswerChecker, CheckerSettings, start_sandbox
from services.answer_checker.sandbox.layers import Limits
from services.answer_checker.sandbox.processes import SandboxError
from services.answer_checker.service import CALLERS, NAME, AnswerCheckerService
from services.shared.observability import metrics, tracing
from services.shared.process.server import Server, serve
from services.shared.process.settings import read_settings
from services.shared.process.start import run
from services.shared.process.transport import PLAIN, Transport, own_transport
from tandem.method.errors import FailedPrecondition
from tandem.v1 import checking_pb2_grpc


def build(host: str, port: int, checker: AnswerChecker, transport: Transport = PLAIN) -> Server:
    """Return the process around `checker`."""
    server = Server(host, port, [NAME], transport=transport, callers=CALLERS)
    checking_pb2_grpc.add_AnswerCheckerServicer_to_server(AnswerCheckerService(checker), server.grpc)
    return server


async def main() -> None:
    settings = read_settings(CheckerSettings)
    tracing.setup("tandem-answer-checker", settings.log_level)
    metrics.expose(settings.host, settings.metrics_port, "answer-checker")
    try:
        sandbox = await start_sandbox(allow_weak=settings.allow_weak_sandbox)
    except (FailedPrecondition, SandboxError) as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    checker = AnswerChecker(sandbox, Limits(seconds=settings.check_seconds), settings.concurrency)
    # The sandbox's fork server is older than the key in this process's memory.
    server = build(settings.host, settings.port, checker, own_transport())

    async def load() -> None:
        """The sandbox is ready before the server is."""

    try:
        await serve(server, settings.drain, settings.unready_pause, load, is_alive=lambda: sandbox.is_alive)
    finally:
        await sandbox.stop()
        tracing.shutdown()


if __name__ == "__main__":
    run(main)
