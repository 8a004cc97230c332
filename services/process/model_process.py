"""The life of a process that generates tokens: load, serve, drain."""

from __future__ import annotations

import asyncio
import logging

from services.engine.api import Engine
from services.observability import tracing
from services.process.server import Server, serve
from services.process.settings import ModelServiceSettings
from services.request_log.log import RequestLog

logger = logging.getLogger(__name__)


async def run_model_process(
    server: Server,
    settings: ModelServiceSettings,
    engine: Engine,
    log: RequestLog,
) -> None:
    """Serve until SIGTERM. Raises what the engine's loading raises."""

    async def load() -> None:
        await asyncio.to_thread(engine.start)
        logger.info("engine is ready")

    try:
        await serve(server, settings.drain, settings.unready_pause, load, is_alive=lambda: engine.is_alive)
    finally:
        await asyncio.to_thread(engine.stop)
        await log.close()
        tracing.shutdown()
