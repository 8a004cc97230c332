"""The life of a process that generates tokens: load, serve, drain."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from services.engine.api import Engine
from services.engine.registry import make_engine
from services.observability import tracing
from services.process.server import Server, serve
from services.process.settings import ModelServiceSettings
from services.request_log.log import RequestLog
from tandem.errors import SetupError

logger = logging.getLogger(__name__)


def open_engine(spec: str, arguments: dict[str, Any]) -> Engine:
    """`make_engine`'s. Raises SetupError where there is no such engine, or its arguments do not suit it."""
    try:
        return make_engine(spec, arguments)
    except (ValueError, ImportError, AttributeError) as error:
        raise SetupError(f"TANDEM_ENGINE {spec!r}: {error}") from error


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
