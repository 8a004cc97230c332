"""The life of a process that writes tokens: load, serve, hear stops, drain."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from services.observability import tracing as telemetry
from services.process.server import Server, serve
from services.process.settings import ModelServiceSettings
from services.request_log.generation import RunningAttempts
from services.request_log.log import RequestLog, Role
from services.request_log.stops import listen_for_stops

logger = logging.getLogger(__name__)


class Startable(Protocol):
    """An engine, as far as its process is concerned."""

    @property
    def is_alive(self) -> bool: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...


async def run_model_process(
    server: Server,
    settings: ModelServiceSettings,
    engine: Startable,
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
        telemetry.shutdown()
