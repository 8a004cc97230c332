"""One call of the gateway and its errors, for every client: blocking, and for asyncio."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc

from tandem.errors import from_rpc

Metadata = tuple[tuple[str, str], ...]
T = TypeVar("T")


def unary_call(method: Callable[..., T], request: object, seconds: float, metadata: Metadata) -> T:
    """Raises RequestError, also where no reply came within `seconds`."""
    try:
        return method(request, timeout=seconds, metadata=metadata)
    except grpc.RpcError as error:
        raise from_rpc(error) from None


async def async_unary_call(
    method: Callable[..., Awaitable[T]], request: object, seconds: float, metadata: Metadata
) -> T:
    """As `unary_call`."""
    try:
        return await method(request, timeout=seconds, metadata=metadata)
    except grpc.RpcError as error:
        raise from_rpc(error) from None
