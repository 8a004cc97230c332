"""The process that every isolated one is forked from: small, with one thread, without environment and without secrets.

It loads Python and the modules once, so that a check does not wait for them.
"""

from __future__ import annotations

import gc
import importlib
import os
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from services.answer_checker.sandbox import layers
from services.answer_checker.sandbox.layers import Limits, probe
from services.answer_checker.sandbox.messages import Channel

_STREAMS = 3
"""What comes with each byte of the service: control, the service's stream, and the stream to the other process."""
SETUP_FAILED, ENTRY_FAILED = 70, 71
"""Exit statuses: the process was not isolated, so that nothing ran; what ran raised."""
_FIRST_DESCRIPTOR, _LAST_DESCRIPTOR = 3, 4096


def main(descriptor: int, without: Sequence[str], modules: Sequence[str]) -> None:
    """Serve until the service closes its end of the socket `descriptor`; `without` are layers that are not used."""
    service = socket.socket(fileno=descriptor)
    for module in modules:
        importlib.import_module(module)
    isolation = probe(without)
    Channel(service).send(asdict(isolation))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the supervisors
    gc.freeze()
    while True:
        byte, descriptors, _, _ = socket.recv_fds(service, 1, _STREAMS)
        if not byte:
            return
        streams = [socket.socket(fileno=found) for found in descriptors]
        if os.fork() == 0:
            _become_supervisor(service, streams, isolation.holds)
        for stream in streams:
            stream.close()


def _become_supervisor(service: socket.socket, streams: list[socket.socket], isolation: tuple[str, ...]) -> None:
    try:
        service.close()
        supervise(streams[0], streams[1:], isolation)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(0)


def supervise(control: socket.socket, streams: list[socket.socket], isolation: tuple[str, ...]) -> None:
    """Supervise one isolated process: start it, end it in time, and report what it used.

    The supervisor is trusted and runs nothing of an answer. It ends its process when that has used up its time, and
    when the service closes its end of the control socket, for whatever reason. It runs what the first message on
    `control` orders, and answers with its end. An order has `entry`, "module:function" of an imported module, and
    `limits`. The function gets the `streams` as Channels.
    """
    channel = Channel(control)
    order = channel.receive()
    if order is None:
        return
    ended = _run(control, streams, order["entry"], Limits(**order["limits"]), isolation)
    with suppress(BrokenPipeError):  # the service has lost interest
        channel.send(ended)


def _run(
    control: socket.socket, streams: list[socket.socket], entry: str, limits: Limits, isolation: tuple[str, ...]
) -> dict[str, Any]:
    wakeup, waker = socket.socketpair()
    waker.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker.fileno())
    null = os.open(os.devnull, os.O_RDWR)
    if layers.NAMESPACES in isolation:
        layers.enter_namespaces(limits.scratch_bytes)
    child = os.fork()
    if child == 0:
        _become(entry, streams, limits, isolation, null)
    for stream in streams:
        stream.close()
    timed_out = _wait(control, wakeup, limits.seconds)
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    with suppress(ProcessLookupError, PermissionError):  # what it may have started, where seccomp did not refuse that
        os.killpg(child, signal.SIGKILL)
    _, status, used = os.wait4(child, 0)
    return {
        "seconds": used.ru_utime + used.ru_stime,
        "status": os.waitstatus_to_exitcode(status),
        "timed_out": timed_out,
    }


def _wait(control: socket.socket, wakeup: socket.socket, seconds: float) -> bool:
    """Wait until the child ends, the service closes `control`, or the time is over; True: the time is over."""
    with selectors.DefaultSelector() as selector:
        for stream in (control, wakeup):
            selector.register(stream, selectors.EVENT_READ)
        return not selector.select(seconds)


def _become(entry: str, streams: list[socket.socket], limits: Limits, isolation: tuple[str, ...], null: int) -> None:
    """Isolate this process, run the entry, and end."""
    status = SETUP_FAILED
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        kept = [0, 1, 2, null, *(stream.fileno() for stream in streams)]
        for start, end in zip(sorted(kept), [*sorted(kept)[1:], _LAST_DESCRIPTOR], strict=True):
            os.closerange(start + 1, end)
        module, _, function = entry.partition(":")
        run = getattr(importlib.import_module(module), function)
        layers.restrict(isolation, limits)
        for standard in (0, 1, 2):
            os.dup2(null, standard)
        status = ENTRY_FAILED
        run(*(Channel(stream) for stream in streams))
        status = 0
    except BaseException:
        if status == SETUP_FAILED:
            traceback.print_exc()  # to the service's log
            sys.stderr.flush()
    finally:
        os._exit(status)
