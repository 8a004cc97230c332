"""The life of the local stack: every process runs on this machine under supervisord, in one state folder.

Supervisord is the parent of all processes, starts one that ends again, and ends them with itself. `tandem status` shows
what ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from http.client import HTTPException
from typing import Any
from xmlrpc.client import Fault, ServerProxy  # nosec B411  # the supervisor's own socket, of this user alone

import psutil
from filelock import FileLock, Timeout
from supervisor.xmlrpc import SupervisorTransport

from tandem.errors import CANNOT_START
from tandem.local.certificates import authority_file, probe_credentials, write_access, write_certificates
from tandem.local.layout import LOCAL_PROCESSES, Layout, Process, StackError
from tandem.local.ports import OwnPorts, is_taken, listens
from tandem.local.probes import answers_http, answers_ping, is_serving
from tandem.local.programs import require_binary
from tandem.local.supervisord import MARK, MAX_RESTARTS, PRIVATE, configuration, end_waves, exits_in, processes_of

_STOP_SECONDS = 30.0
_START_SECONDS = 300.0
_POLL_SECONDS = 0.1
_LEAST_FREE_BYTES = 64 << 20  # a thousand requests take some 40 MB of Temporal's database
_ALIVE = ("RUNNING", "STARTING")  # of a process that is expected to run for a while, the second is said for a minute
# As Redis and Temporal say it, and as our processes do (services.shared.process.start).
_PORT_TAKEN = re.compile(r"address already in use|failed to bind|listening on \S+ failed", re.IGNORECASE)
_LINES_SHOWN = 15
EVERY = frozenset(process.name for process in LOCAL_PROCESSES)


class PortTaken(StackError):
    """Another program took a port between its choice and the start of the process."""


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """`state` is ready, starting, restarting, stopped, or says how the process ended, or that its disk is full.

    `exits`: how often it ended without being asked to, and `last_exit`, how.
    """

    name: str
    state: str
    pid: int | None
    address: str
    exits: int = 0
    last_exit: str = ""

    @property
    def times_ended(self) -> str:
        return "once" if self.exits == 1 else f"{self.exits} times"


Report = Callable[[ProcessStatus], None]
"""Called when a process starts, and when it is ready."""


@dataclass
class Stack(Layout):
    """A layout that supervisord runs. `own_ports`: of a stack that was planned, until supervisord has them."""

    own_ports: OwnPorts = field(default_factory=OwnPorts)

    def up(self, report: Report = lambda _: None, needed: Collection[str] = EVERY) -> None:
        """Start every process and wait until each of `needed` is ready.

        Raises StackError when a process ends or is not ready in time. After any failure no process is left running.
        """
        with self._alone():
            if self.is_up():
                raise StackError(f"a stack runs from {self.folder} already")
            try:
                self._start_supervisor()
                self._start_missing(report, needed)
            except BaseException:
                self._end()
                raise
            finally:
                self.own_ports.close()

    def start_missing(self, report: Report = lambda _: None) -> None:
        """Start the processes that do not run, and wait until all are ready. The others are not touched.

        Raises StackError when a process ends or is not ready in time.
        """
        with self._alone():
            self._start_missing(report)

    def down(self) -> bool:
        """End every process and wait for the last. False: none was running. Raises StackError if one does not end."""
        with self._alone():
            return self._end()

    def is_up(self) -> bool:
        return bool(processes_of(self.folder))

    def status(self) -> list[ProcessStatus]:
        """Return the state of each process. Temporal is not ready on a full disk, although it answers: it begins no
        request there.
        """
        with self.supervisor() as supervisor:
            rows = self._statuses(self.processes, supervisor)
        free = shutil.disk_usage(self.folder).free
        if free >= _LEAST_FREE_BYTES:
            return rows
        full = f"without room on its disk ({free >> 20} MiB free in {self.folder})"
        return [replace(row, state=full) if (row.name, row.state) == ("temporal", "ready") else row for row in rows]

    @contextlib.contextmanager
    def supervisor(self) -> Iterator[Any]:
        """Supervisord's XML-RPC interface: startProcess, stopProcess, getProcessInfo and the like.

        Raises StackError when it has died.
        """
        transport = SupervisorTransport(None, None, serverurl=f"unix://{self.socket}")
        try:
            with ServerProxy("http://127.0.0.1", transport=transport) as proxy:
                yield proxy.supervisor
        except (OSError, HTTPException) as error:
            raise StackError(
                f"the supervisor of the stack in {self.folder} does not answer ({type(error).__name__}); "
                "`tandem down` ends what it left, and `tandem up` starts the stack again"
            ) from error

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Two commands that start and end processes of one folder would undo each other's work. Raises StackError."""
        try:
            with FileLock(self.folder / "lock", timeout=0):
                yield
        except Timeout:
            raise StackError(
                f"another `tandem up` or `tandem down` is at work in {self.folder}: wait until it ends"
            ) from None

    def _start_missing(self, report: Report, needed: Collection[str] = EVERY) -> None:
        """All at once, as far as they wait for no other: most of a start is what each imports."""
        before = exits_in(self.supervisor_log)
        waiting, starting, ready = list(self.processes), list[Process](), {""}
        deadline = time.monotonic() + _START_SECONDS
        with self.supervisor() as supervisor:
            while waiting or any(each.kind in needed for each in starting):
                for process in [each for each in waiting if each.waits_for in ready]:
                    self._start_unless_alive(process, supervisor, report)
                    waiting.remove(process)
                    starting.append(process)
                for found in self._statuses(starting, supervisor):
                    if found.exits > len(before.get(found.name, ())) or not found.pid:
                        raise self._ended(found)
                    if found.state == "ready":
                        ready.add(found.name)
                        report(found)
                starting = [each for each in starting if each.name not in ready]
                if time.monotonic() > deadline:
                    names = ", ".join(process.name for process in starting)
                    raise StackError(f"not ready after {_START_SECONDS:.0f} s: {names}; see `tandem logs`")
                time.sleep(_POLL_SECONDS)

    def _start_unless_alive(self, process: Process, supervisor: Any, report: Report) -> None:
        state = supervisor.getProcessInfo(process.name)["statename"]
        if state in _ALIVE:
            return
        if state == "BACKOFF":  # it waits for its next restart
            supervisor.stopProcess(process.name)
        supervisor.startProcess(process.name, False)
        report(ProcessStatus(process.name, "starting", None, self.address(process.name)))

    def _end(self) -> bool:
        processes = processes_of(self.folder)
        try:
            with contextlib.suppress(Fault), self.supervisor() as supervisor:
                _stop_waves(self.waves(), supervisor)
                supervisor.shutdown()
        except StackError:
            end_waves([[process.name for process in wave] for wave in self.waves()], processes, _STOP_SECONDS)
        _, alive = psutil.wait_procs(processes, timeout=_STOP_SECONDS)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        _, alive = psutil.wait_procs(alive, timeout=5)
        if alive:
            raise StackError(f"still running: {', '.join(f'{p.pid} {p.name()}' for p in alive)}")
        for leftover in (self.file, self.socket, self.pidfile):
            leftover.unlink(missing_ok=True)
        shutil.rmtree(self.certificates, ignore_errors=True)
        return bool(processes)

    def _statuses(self, processes: Sequence[Process], supervisor: Any) -> list[ProcessStatus]:
        known = {info["name"]: info for info in supervisor.getAllProcessInfo()}
        exits = exits_in(self.supervisor_log)
        return [self._status(process, known[process.name], exits) for process in processes]

    def _status(self, process: Process, info: dict[str, Any], exits: Mapping[str, Sequence[str]]) -> ProcessStatus:
        known = exits.get(process.name, ())
        last = known[-1] if known else ""
        match info["statename"]:
            case "RUNNING" | "STARTING":
                state = "ready" if self._is_ready(process, info["pid"]) else "starting"
            case "BACKOFF":
                state = "restarting"
            case "FATAL":
                state = f"given up after {MAX_RESTARTS} restarts"
            case "EXITED" | "UNKNOWN":
                state = f"exited ({last})"
            case other:
                state = other.lower()
        return ProcessStatus(process.name, state, info["pid"] or None, self.address(process.name), len(known), last)

    def _is_ready(self, process: Process, pid: int) -> bool:
        port = self.ports[process.name]["main"]
        if process.name == "jaeger":  # in a container it is no child of ours
            return answers_http(f"http://127.0.0.1:{port}/api/services")
        if not is_taken(port):
            return False
        if process.speaks_http:
            answers = answers_http(f"http://127.0.0.1:{port}{process.health}")
        elif process.name == "redis":
            answers = answers_ping(port)
        else:
            credentials = probe_credentials(self.certificates) if self.tls and process.module else None
            answers = is_serving(port, process.health, credentials)
        return answers and listens(pid, port)  # last: whose a port is takes a walk over all processes

    def _ended(self, found: ProcessStatus) -> StackError:
        """The reason first, which the log may have above what Python says of everything else that ends with the
        process.
        """
        try:
            lines = self.log(found.name).read_text(errors="replace").splitlines()
        except OSError:
            lines = []
        reason = next((line for line in reversed(lines) if line.startswith(CANNOT_START)), "")
        kind = PortTaken if any(map(_PORT_TAKEN.search, lines)) else StackError
        return kind("\n".join([f"{found.name} ended ({found.last_exit}): {reason}".rstrip(), *lines[-_LINES_SHOWN:]]))

    def _start_supervisor(self) -> None:
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        for log in (self.supervisor_log, *(self.log(process.name) for process in self.processes)):
            log.unlink(missing_ok=True)
        if self.tls:
            write_certificates(self.certificates, {process.kind for process in self.processes if process.module})
            write_access(self.certificates, require_binary("redis-server"))
        file = self.folder / "supervisord.conf"
        file.touch(mode=0o600)
        file.write_text(configuration(self))
        done = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(file)],
            env={**os.environ, **self.environment, MARK: str(self.folder)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            umask=PRIVATE,
            pass_fds=[each.fileno() for each in self.own_ports.sockets],
        )
        if done.returncode:
            raise StackError(f"supervisord does not start: {done.stderr or done.stdout}")
        layout = {each.name: getattr(self, each.name) for each in fields(Layout)}
        authority = str(authority_file(self.certificates)) if self.tls else ""
        addresses = {"authority": authority, "gateway": self.gateway, "http": self.http, "jaeger": self.jaeger}
        written = {**addresses, **layout, "folder": str(self.folder)}
        self.file.write_text(json.dumps(written, indent=2) + "\n")
        deadline = time.monotonic() + 10
        while not self.socket.exists():
            if time.monotonic() > deadline:
                raise StackError(f"supervisord does not answer; see {self.supervisor_log}")
            time.sleep(_POLL_SECONDS)


def _stop_waves(waves: Sequence[Sequence[Process]], supervisor: Any) -> None:
    """End the processes of a wave at the same time, the last wave first: by itself supervisord ends one after the
    other.
    """
    deadline = time.monotonic() + _STOP_SECONDS
    for wave in reversed(waves):
        for process in wave:
            with contextlib.suppress(Fault):  # it does not run
                supervisor.stopProcess(process.name, False)
        while time.monotonic() < deadline and any(supervisor.getProcessInfo(p.name)["pid"] for p in wave):
            time.sleep(_POLL_SECONDS)
