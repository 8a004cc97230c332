"""How every HTTP server of ours is set up."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from services.process.http_protocol import BoundedProtocol

MAX_CONNECTIONS = 512
"""Twice as many as a gateway streams to at once, so that it is the gateway that refuses first, with its reasons; and half of the
files that a process may usually open.
"""


def http_config(
    app: ASGIApp, host: str, port: int, max_connections: int = MAX_CONNECTIONS, **more: Any
) -> uvicorn.Config:
    """uvicorn's settings: bounds on requests and readers, and logs that are the process's own.

    A request gets 503 while there are `max_connections`, none of which can be closed.
    """
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=BoundedProtocol,
        limit_concurrency=max_connections,
        log_config=None,
        access_log=False,
        **more,
    )


class HttpServer(uvicorn.Server):
    """Signals are ours: readiness ends before the port closes."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
