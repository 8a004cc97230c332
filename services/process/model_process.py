"""The life of a process that generates tokens: load, serve, drain."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

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
    then: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGTERM. `then` runs when the engine has loaded, before any call is served. Raises what either raises."""

    async def load() -> None:
        await asyncio.to_thread(engine.start)
        logger.info("engine is ready")
        then()

    try:
        await serve(server, settings.drain, settings.unready_pause, load, is_alive=lambda: engine.is_alive)
    finally:
        await asyncio.to_thread(engine.stop)
        await log.close()
        tracing.shutdown()
