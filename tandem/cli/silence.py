"""While no event of a request comes: which process of the local stack is the reason."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tandem.cli.output import console_note
from tandem.errors import UserError
from tandem.events import Event
from tandem.paths import read_stack

_SILENT_SECONDS = 3.0


@contextmanager
def explained_silence(address: str, seconds: float = _SILENT_SECONDS) -> Iterator[Callable[[], None]]:
    """The block calls what it is given at each event. Each reason for a longer silence is printed once, on standard error."""
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


def heard(events: Iterator[Event], hear: Callable[[], None]) -> Iterator[Event]:
    """The events, and `hear` at each."""
    for event in events:
        hear()
        yield event


def unready_processes(address: str) -> str:
    """What of the local stack a request lacks and what to do; empty where all is well, or where `address` is no gateway of it."""
    written = read_stack()
    if written is None or written["gateway"] != address:
        return ""
    try:
        from tandem.local.layout import ANSWERING
        from tandem.local.planning import open_stack

        stack = open_stack()
        rows = stack.status() if stack else []
        unready = [row for row in rows if row.state != "ready" and row.name in ANSWERING]
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
