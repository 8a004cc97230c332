"""The process that every isolated one is forked from: small, with one thread, without environment and without secrets.

It loads Python and the modules once, so that a check does not wait for them.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from dataclasses import asdict

from services.answer_checker.sandbox.keeper import keep
from services.answer_checker.sandbox.layers import probe
from services.answer_checker.sandbox.messages import Channel

_STREAMS = 3
"""What comes with each byte of the service: control, the service's stream, and the stream to the other process."""


def main(descriptor: int, without: Sequence[str], modules: Sequence[str]) -> None:
    """Serve until the service closes its end of the socket `descriptor`; `without` are layers that are not used."""
    service = socket.socket(fileno=descriptor)
    for module in modules:
        importlib.import_module(module)
    isolation = probe(without)
    Channel(service).send(asdict(isolation))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the keepers
    gc.freeze()
    while True:
        byte, descriptors, _, _ = socket.recv_fds(service, 1, _STREAMS)
        if not byte:
            return
        streams = [socket.socket(fileno=found) for found in descriptors]
        if os.fork() == 0:
            _become_keeper(service, streams, isolation.holds)
        for stream in streams:
            stream.close()


def _become_keeper(service: socket.socket, streams: list[socket.socket], isolation: tuple[str, ...]) -> None:
    try:
        service.close()
        keep(streams[0], streams[1:], isolation)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(0)
