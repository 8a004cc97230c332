"""Ports of 127.0.0.1: free ones are chosen and held until the process that listens on them starts."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping

import psutil

from tandem.local.layout import Process, StackError


class HeldPorts:
    """`numbers[process][purpose]`. No other program can take a port that is held."""

    def __init__(self, wanted: Iterable[Process] = ()) -> None:
        """For each process its preferred ports, or free ones where those are taken. Raises StackError."""
        self._sockets: dict[str, list[socket.socket]] = {}
        self.numbers: dict[str, dict[str, int]] = {}
        for process in wanted:
            self.numbers[process.name] = self._hold(process.name, process.ports)

    def release(self, process: str) -> None:
        for held in self._sockets.pop(process, []):
            held.close()

    def release_all(self) -> None:
        for process in list(self._sockets):
            self.release(process)

    def _hold(self, process: str, preferred: Mapping[str, int]) -> dict[str, int]:
        numbers = {}
        for purpose, port in preferred.items():
            held = _listen(port) or _listen(0)
            if held is None:
                raise StackError("no port is free")
            self._sockets.setdefault(process, []).append(held)
            numbers[purpose] = held.getsockname()[1]
        return numbers


def free_port() -> int:
    """A port that nobody listens on now; another program may take it before its user does. Raises StackError."""
    held = _listen(0)
    if held is None:
        raise StackError("no port is free")
    with held:
        port: int = held.getsockname()[1]
        return port


def listens(pid: int, port: int) -> bool:
    """Whether the process, or one that it started, listens on `port`: another program may answer there."""
    if not _is_taken(port):  # asked first, because whose it is takes a walk over all processes
        return False
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        return any(_has_listener(each, port) for each in family)
    except psutil.Error:  # it ends at this moment
        return False


def _has_listener(process: psutil.Process, port: int) -> bool:
    look = getattr(process, "net_connections", None) or process.connections  # the name before psutil 6
    return any(each.laddr.port == port for each in look("tcp") if each.status == psutil.CONN_LISTEN)


def _is_taken(port: int) -> bool:
    with socket.socket() as asking:
        asking.settimeout(1)
        return asking.connect_ex(("127.0.0.1", port)) == 0


def _listen(port: int) -> socket.socket | None:
    """None where the port is taken. It listens, because two sockets that are only bound may share a port."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        held.bind(("127.0.0.1", port))
        held.listen(1)
    except OSError:
        held.close()
        return None
    return held
