"""Tandem for its users: `Client`, `AsyncClient`, and the command line."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tandem.client import AsyncClient, Client
    from tandem.errors import RequestError
    from tandem.results import to_dict

__all__ = ["AsyncClient", "Client", "RequestError", "to_dict"]
_HOME = {"AsyncClient": "client", "Client": "client", "RequestError": "errors", "to_dict": "results"}


def __getattr__(name: str) -> Any:
    """Load what is asked for: `tandem.method` must not load gRPC, which `Client` needs."""
    if name not in _HOME:
        raise AttributeError(f"module 'tandem' has no attribute {name!r}")
    return getattr(import_module(f"tandem.{_HOME[name]}"), name)
