"""Tandem's client: `Client`, `AsyncClient`, the events of a request, and the command line.

with Client("host:50050") as client:
    result = client.ask("What is 17 + 25?")
    print(result.answer, result.cost.usd)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tandem.client.clients import AsyncClient, Client
    from tandem.client.events import (
        Accepted,
        AnswerDelta,
        Checked,
        Completed,
        Event,
        InsightDelta,
        LlmStopped,
        Restarted,
        Scored,
        StageCompleted,
    )
    from tandem.client.request import SolveOptions
    from tandem.client.results import to_dict
    from tandem.errors import RequestError

__all__ = [
    "Accepted",
    "AnswerDelta",
    "AsyncClient",
    "Checked",
    "Client",
    "Completed",
    "Event",
    "InsightDelta",
    "LlmStopped",
    "RequestError",
    "Restarted",
    "Scored",
    "SolveOptions",
    "StageCompleted",
    "to_dict",
]
_MODULES = {
    "AsyncClient": "client.clients",
    "Client": "client.clients",
    "RequestError": "errors",
    "SolveOptions": "client.request",
    "to_dict": "client.results",
}


def __getattr__(name: str) -> Any:
    """Import on first use: `tandem.method` and `tandem --help` must not load gRPC."""
    if name not in __all__:
        raise AttributeError(f"module 'tandem' has no attribute {name!r}")
    return getattr(import_module(f"tandem.{_MODULES.get(name, 'client.events')}"), name)
