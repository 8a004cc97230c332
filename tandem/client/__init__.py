"""The client of a gateway: `Client` and `AsyncClient`, what they send and what they receive."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tandem.client.clients import AsyncClient, Client

__all__ = ["AsyncClient", "Client"]


def __getattr__(name: str) -> Any:
    """Import on first use: what reads a contract's message must not load gRPC."""
    if name not in __all__:
        raise AttributeError(f"module 'tandem.client' has no attribute {name!r}")
    return getattr(import_module("tandem.client.clients"), name)
