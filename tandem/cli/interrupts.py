"""What Ctrl-C does while a request runs."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator

import grpc
import typer

from tandem.client import Client
from tandem.errors import RequestError


@contextlib.contextmanager
def leaves() -> Iterator[None]:
    """Ctrl-C ends the command and not the request."""
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(1) from None


@contextlib.contextmanager
def noticed() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; the second ends the command at once."""
    event = threading.Event()

    def notice(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        event.set()

    before = signal.signal(signal.SIGINT, notice)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def cancels(client: Client, request_id: str) -> Iterator[None]:
    """The first Ctrl-C cancels the request, whose stream continues to its bill; the second ends the command at once.

    The first raises no KeyboardInterrupt: inside gRPC that may leave a lock of the channel held for ever.
    """

    def cancel(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        threading.Thread(target=_cancel_when_known, args=(client, request_id), daemon=True).start()

    before = signal.signal(signal.SIGINT, cancel)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _cancel_when_known(client: Client, request_id: str) -> None:
    """The gateway may not know a request that was sent a moment ago."""
    for _ in range(20):
        try:
            client.cancel(request_id)
            return
        except RequestError as error:
            if error.code is not grpc.StatusCode.NOT_FOUND:
                return  # the stream reports the same error
            time.sleep(0.1)
