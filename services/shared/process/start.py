"""How a process starts: its ports, and one line for what hinders it."""

from __future__ import annotations

import gc
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import uvloop

from tandem.errors import CANNOT_START, SetupError
from tandem.method.errors import TandemError


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a process to its end. What was imported is left out of every collection."""
    gc.freeze()
    gc.enable()  # services.shared.process.launch turned it off
    with explained_start():
        uvloop.run(main())


@contextmanager
def explained_start() -> Iterator[None]:
    """A port, setting, file or profile that hinders the process ends it with code 1 and one line, without a
    traceback.
    """
    try:
        yield
    except (SetupError, TandemError) as error:
        sys.exit(f"{CANNOT_START}{error}")


def bound_socket(host: str, port: int) -> socket.socket:
    """Bind a socket for uvicorn, which listens there; where it has to bind one itself and cannot, it ends the process
    without a reason.

    Raises SetupError.
    """
    # asyncio turns Nagle's algorithm off only where the socket names its protocol. With it, a reply's body waits until
    # the client has acknowledged the headers, and is lost where the connection is closed first, as after a body that is
    # too large.
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise SetupError(f"listening on {address_of(host, port)} failed: {error.strerror}") from error
    return bound


def address_of(host: str, port: int) -> str:
    """host:port, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def require_bound(address: str, bind: Callable[[str], int]) -> int:
    """Return the port that gRPC's `bind` listens on. Raises SetupError: gRPC's own error says to set a variable for
    the reason.
    """
    try:
        return bind(address)
    except RuntimeError as error:
        raise SetupError(
            f"listening on {address} failed: another program does, or it is no address of this machine"
        ) from error
