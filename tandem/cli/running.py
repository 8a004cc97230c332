"""What is shown while a request runs: what Ctrl-C does, and which process of the local stack is the reason where no
event comes.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc
import typer

from tandem.cli.output import console_note
from tandem.client.clients import Client
from tandem.client.events import Event
from tandem.errors import RequestError, UserError
from tandem.paths import read_stack

_SILENT_SECONDS = 3.0


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


@contextmanager
def explained_silence(address: str, seconds: float = _SILENT_SECONDS) -> Iterator[Callable[[], None]]:
    """The block calls what it is given at each event. Each reason for a longer silence is printed once, on standard
    error.
    """
    heard, ended = threading.Event(), threading.Event()

    def hear() -> None:
        heard.set()

    def watch() -> None:
        told = ""
        while not ended.is_set():
            if heard.wait(seconds):
                heard.clear()
            elif (reason := unready_processes(address)) and reason != told:
                console_note(reason)
                told = reason

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield hear
    finally:
        ended.set()
        hear()


@contextmanager
def explained_wait(why: str, seconds: float = _SILENT_SECONDS) -> Iterator[None]:
    """Says why once, on standard error, where the block takes longer."""
    timer = threading.Timer(seconds, console_note, [why])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def heard(events: Iterator[Event], hear: Callable[[], None]) -> Iterator[Event]:
    """Yield the events, and `hear` at each."""
    for event in events:
        hear()
        yield event


def unready_processes(address: str) -> str:
    """Return what of the local stack a request lacks and what to do; empty where all is well, or where `address` is
    no gateway of it.
    """
    written = read_stack()
    if written is None or written["gateway"] != address:
        return ""
    try:
        from tandem.local.layout import ANSWERING
        from tandem.local.planning import open_stack

        stack = open_stack()
        rows = stack.status() if stack else []
        unready = [row for row in rows if row.state != "ready" and row.name.partition("@")[0] in ANSWERING]
    except ModuleNotFoundError:  # a client beside the checkout that runs the stack
        return ""
    except UserError as error:
        return str(error)
    if not unready:
        return ""
    states = ", ".join(f"{row.name} is {row.state}" for row in unready)
    if all(row.pid or row.state == "restarting" for row in unready):
        return f"no event for a while: {states}"
    return f"no event for a while: {states}; `tandem up` in another terminal starts what is missing"
