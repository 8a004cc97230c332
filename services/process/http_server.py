"""How every HTTP server of ours is set up."""

from __future__ import annotations

from typing import Any

import uvicorn
from starlette.types import ASGIApp

from services.process.http_protocol import BoundedProtocol


def http_config(app: ASGIApp, host: str, port: int, **more: Any) -> uvicorn.Config:
    """uvicorn's settings: bounds on a request's headers, and logs that are the process's own."""
    return uvicorn.Config(app, host=host, port=port, http=BoundedProtocol, log_config=None, access_log=False, **more)
