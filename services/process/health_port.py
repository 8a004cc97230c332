"""Health in clear text, on a port that serves nothing else.

Kubernetes' own probes have no certificate, and a program in the pod that has one would be a Python process for each probe.
"""

from __future__ import annotations

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import aio as health_aio  # type: ignore[attr-defined]  # made at import

from services.process.start import require_bound


class HealthPort:
    """Tells what `servicer` tells. Port 0: it does not listen. Raises SetupError where the port is taken."""

    def __init__(self, host: str, port: int, servicer: health_aio.HealthServicer) -> None:
        self._server: grpc.aio.Server | None = None
        if port:
            self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0), ("grpc.max_connection_idle_ms", 300_000)])
            health_pb2_grpc.add_HealthServicer_to_server(servicer, self._server)
            require_bound(f"{host}:{port}", self._server.add_insecure_port)

    async def start(self) -> None:
        if self._server:
            await self._server.start()

    async def stop(self) -> None:
        if self._server:
            await self._server.stop(0)
