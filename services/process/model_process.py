"""The life of a process that generates tokens: load, serve, listen for stops, drain."""

from __future__ import annotations

import asyncio
import logging

from services.engine.api import Engine
from services.generation.attempts import RunningAttempts, listen_for_stops
from services.observability import tracing
from services.process.server import Server, serve
from services.process.settings import ModelServiceSettings
from services.request_log.connection import Role
from services.request_log.log import RequestLog

logger = logging.getLogger(__name__)


async def run_model_process(
    server: Server,
    settings: ModelServiceSettings,
    engine: Engine,
    log: RequestLog,
    role: Role,
    running: RunningAttempts,
) -> None:
    """Serve until SIGTERM. Raises what the engine's loading raises."""

    async def load() -> None:
        await asyncio.to_thread(engine.start)
        logger.info("engine is ready")

    listener = asyncio.create_task(listen_for_stops(log, role, running))
    try:
        await serve(server, settings.drain, settings.unready_pause, load, is_alive=lambda: engine.is_alive)
    finally:
        listener.cancel()
        await asyncio.to_thread(engine.stop)
        await log.close()
        tracing.shutdown()
