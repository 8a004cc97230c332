"""The helper: it loads modules once, and forks two processes for each call. One does the work within its limits; the
other, its supervisor, ends it when the time is over or the caller has gone, and reports.

Runs as a program of its own, with one thread, so that it may fork.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
import time
from importlib import import_module
from typing import Any

_MAX_REASON = 500


def main(descriptor: int, modules: list[str]) -> None:
    """Serve until the caller's end of the stream closes. Each message brings the socket of one call."""
    for module in modules:
        import_module(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries the supervisors
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's is for the service
    stream = socket.socket(fileno=descriptor)
    while True:
        data, descriptors, *_ = socket.recv_fds(stream, 1, 1)
        if not data:
            return
        call = socket.socket(fileno=descriptors[0])
        if os.fork() == 0:
            stream.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            try:
                _supervise(call)
            finally:  # also where the caller has gone before the order or the report was through
                os._exit(0)
        call.close()


def _supervise(call: socket.socket) -> None:
    """Report `{"refused", "costly", "bytes"}`. `refused` is the work's own reason, "" where it is good and None where
    it was ended; `costly`: by a limit that the machine's load does not move.
    """
    order = json.loads(call.makefile("r").readline())
    reading, writing = os.pipe()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    worker = os.fork()
    if worker == 0:
        call.close()
        os.close(reading)
        _work(order, writing)
    os.close(writing)
    reply, was_ended = _await(worker, reading, call, time.monotonic() + order["wall_seconds"])
    _, status, used = os.wait4(worker, 0)
    is_done = not was_ended and os.waitstatus_to_exitcode(status) == 0
    report = {
        "refused": reply.decode() if is_done else None,
        "costly": not is_done and not was_ended,
        "bytes": max(0, used.ru_maxrss - before) << 10,
    }
    call.sendall(json.dumps(report).encode() + b"\n")


def _await(worker: int, reading: int, call: socket.socket, until: float) -> tuple[bytes, bool]:
    """Return what the worker writes until it ends, and whether it had to be ended: its time is over, or its caller
    has gone.
    """
    reply = b""
    while True:
        ready, _, _ = select.select([reading, call.fileno()], [], [], max(0.0, until - time.monotonic()))
        if reading not in ready:
            os.kill(worker, signal.SIGKILL)
            return reply, True
        chunk = os.read(reading, 4096)
        if not chunk:
            return reply, False
        reply += chunk


def _work(order: dict[str, Any], writing: int) -> None:
    """Never returns. Exits with 0 and a reason where the work refuses, with 1 where it lacks memory."""
    module, _, name = order["entry"].partition(":")
    work = getattr(import_module(module), name)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what a library says of its end may quote the caller's text
    _limit(order["cpu_seconds"], order["memory_bytes"])
    try:
        work(order["text"])
    except ValueError as error:
        os.write(writing, str(error)[:_MAX_REASON].encode(errors="replace"))
    except BaseException:
        os._exit(1)
    os._exit(0)


def _limit(cpu_seconds: int, memory_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + memory_bytes, size + memory_bytes))
