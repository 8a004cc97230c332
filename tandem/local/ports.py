"""Ports of 127.0.0.1 that no other stack takes for as long as the processes of this one live.

A port cannot be handed to Redis, to Temporal or to a gRPC server as an open socket: each binds its own, some time after
the port was chosen. So a stack takes ports of a block that is its own. A block is locked by its first port, its guard:
a socket that is bound to it and listens to nothing. Two processes cannot bind one port, and the kernel frees it when
the last process that has the socket ends, however it ends. Blocks lie outside the range from which the kernel takes the
ports of outgoing connections.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

import psutil

from tandem.local.layout import Process, StackError

_BLOCK = 40  # a guard, and more than a stack has ports
_PREFERRED_GUARD = 19_999  # of the numbers that docs/ names: one stack of a machine has them
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_IANA_RANGE = (49_152, 65_535)  # of outgoing connections on other systems


class OwnPorts:
    """`numbers[process][purpose]`. They are this stack's until `close`, and beyond where another process has inherited
    `sockets`.
    """

    def __init__(self, wanted: Iterable[Process] = (), fixed: Mapping[str, int] = MappingProxyType({})) -> None:
        """Take for each process its preferred ports, or others where those are taken; `fixed`: main ports that no
        other replaces. Raises StackError.
        """
        self.sockets: list[socket.socket] = []
        self._free, self._given = self._blocks(), set[int]()
        self._has_preferred: bool | None = None
        mains = {name: {"main": self._hold(name, port)} for name, port in fixed.items()}
        self.numbers = {process.name: self._choose(process.ports, mains.get(process.name, {})) for process in wanted}

    def take(self) -> int:
        """Return a port of a block of our own, where nobody listens. Each is given once. Raises StackError."""
        for port in self._free:
            if self._gives(port):
                return port
        raise StackError("no port is free: every block of ports belongs to another stack or program")

    def close(self) -> None:
        """Here. A process that has inherited the sockets keeps the ports."""
        for each in self.sockets:
            each.close()
        self.sockets.clear()

    def _hold(self, process: str, port: int) -> int:
        if not self._gives(port):
            raise StackError(
                f"port {port} for the {process} is taken, or not this user's: free it, or give another number"
            )
        return port

    def _choose(self, preferred: Mapping[str, int], held: Mapping[str, int]) -> dict[str, int]:
        if self._has_preferred is None:
            self._has_preferred = self._guard(_PREFERRED_GUARD)
        return {
            purpose: held.get(purpose) or (port if self._has_preferred and self._gives(port) else self.take())
            for purpose, port in preferred.items()
        }

    def _gives(self, port: int) -> bool:
        """False where another program listens. What an outgoing connection could take is bound, which keeps it from
        that.
        """
        if port in self._given or (bound := _bind(port, shared=True)) is None:
            return False
        self._given.add(port)
        if sys.platform == "linux" and port in _outgoing():  # elsewhere nobody can listen where another socket is bound
            self.sockets.append(bound)
        else:
            bound.close()
        return True

    def _blocks(self) -> Iterator[int]:
        for first in _first_ports():
            if self._guard(first):
                yield from range(first + 1, first + _BLOCK)

    def _guard(self, port: int) -> bool:
        if guard := _bind(port, shared=False):
            self.sockets.append(guard)
        return guard is not None


def free_port() -> int:
    """Return a port where nobody listens, and which no other process gets from here while this one lives. Raises
    StackError.
    """
    return _of_this_process().take()


@cache
def _of_this_process() -> OwnPorts:
    return OwnPorts()


def listens(pid: int, port: int) -> bool:
    """Tell whether the process, or one that it started, listens on `port`: another program may answer there."""
    if not is_taken(port):  # asked first, because whose it is takes a walk over all processes
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


def is_taken(port: int) -> bool:
    """Tell whether anybody listens there."""
    with socket.socket() as asking:
        asking.settimeout(1)
        return asking.connect_ex(("127.0.0.1", port)) == 0


def _bind(port: int, *, shared: bool) -> socket.socket | None:
    """None where the port is taken. `shared`: servers, which set the same option, can listen beside the socket."""
    bound = socket.socket()
    if shared:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(("127.0.0.1", port))
    except OSError:
        bound.close()
        return None
    return bound


def _first_ports() -> list[int]:
    """Return the first port of each block. All of them where outgoing connections take such ports, too: each port is
    then bound.
    """
    every, outgoing = range(20_000, 30_000, _BLOCK), _outgoing()
    return [first for first in every if first not in outgoing and first + _BLOCK not in outgoing] or list(every)


def _outgoing() -> range:
    """Return the ports from which the kernel takes those of outgoing connections."""
    try:
        low, high = map(int, _RANGE.read_text().split())
    except OSError:
        low, high = _IANA_RANGE
    return range(low, high + 1)
