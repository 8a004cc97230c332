"""The life of the local stack: every process runs on this machine under supervisord, in one state folder.

A process that dies is not restarted, and `tandem status` shows it. Supervisord is the parent of all of them, so
they end with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xmlrpc.client import Fault, ServerProxy

import psutil
from supervisor.xmlrpc import SupervisorTransport

from tandem import jaeger as jaeger_api
from tandem.local.layout import Layout, Process, StackError, choose_ports, engine_threads
from tandem.local.probes import answers_http, answers_ping, is_serving
from tandem.local.programs import program, require_binary, require_jaeger
from tandem.paths import DEFAULT_PROFILE, models_folder, profile_folders, read_stack, state_folder

_MARK = "TANDEM_STACK"  # in the environment of every process of a stack: its state folder
_STOP_SECONDS = 30.0
_START_SECONDS = 300.0
_POLL_SECONDS = 0.1

Report = Callable[[str, str], None]
"""(process, state), called on each change."""


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """`state` is ready, starting, stopped, or says with which code the process exited."""

    name: str
    state: str
    pid: int | None
    address: str


class Stack(Layout):
    """A layout that supervisord runs."""

    def up(self, report: Report = lambda *_: None) -> None:
        """Start every process and wait until each is ready.

        Raises StackError when a process ends or is not ready in time. After any failure no process is left running.
        """
        try:
            self._start_supervisor()
            with self.supervisor() as supervisor:
                for wave in self.waves():
                    for process in wave:
                        supervisor.startProcess(process.name, False)
                        report(process.name, "starting")
                    self._wait_until_ready(wave, supervisor, report)
        except BaseException:
            self.down()
            raise

    def down(self) -> bool:
        """End every process and wait for the last. False: none was running. Raises StackError if one does not end."""
        processes = _processes_of(self.folder)
        with contextlib.suppress(OSError, Fault), self.supervisor() as supervisor:
            supervisor.shutdown()
        _, alive = psutil.wait_procs(processes, timeout=_STOP_SECONDS)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        _, alive = psutil.wait_procs(alive, timeout=5)
        if alive:
            raise StackError(f"still running: {', '.join(f'{p.pid} {p.name()}' for p in alive)}")
        for leftover in (self.file, self._socket, self._pidfile):
            leftover.unlink(missing_ok=True)
        return bool(processes)

    def is_up(self) -> bool:
        return bool(_processes_of(self.folder))

    def status(self) -> list[ProcessStatus]:
        with self.supervisor() as supervisor:
            known = {info["name"]: info for info in supervisor.getAllProcessInfo()}
        return [self._status(process, known[process.name]) for process in self.processes]

    @contextlib.contextmanager
    def supervisor(self) -> Iterator[Any]:
        """Supervisord's XML-RPC interface: startProcess, stopProcess, getProcessInfo and the like."""
        transport = SupervisorTransport(None, None, serverurl=f"unix://{self._socket}")
        with ServerProxy("http://127.0.0.1", transport=transport) as proxy:
            yield proxy.supervisor

    def _status(self, process: Process, info: dict[str, Any]) -> ProcessStatus:
        state = info["statename"].lower()
        if info["statename"] == "RUNNING":
            state = "ready" if self._is_ready(process) else "starting"
        elif info["statename"] in ("EXITED", "FATAL", "UNKNOWN"):
            state = f"exited with {info['exitstatus']}"
        return ProcessStatus(process.name, state, info["pid"] or None, self.address(process.name))

    def _wait_until_ready(self, wave: Sequence[Process], supervisor: Any, report: Report) -> None:
        waiting = list(wave)
        deadline = time.monotonic() + _START_SECONDS
        while waiting:
            for process in list(waiting):
                info = supervisor.getProcessInfo(process.name)
                if info["statename"] not in ("RUNNING", "STARTING"):
                    raise StackError(f"{process.name} ended with {info['exitstatus']}:\n{self._tail(process.name)}")
                if self._is_ready(process):
                    waiting.remove(process)
                    report(process.name, "ready")
            if time.monotonic() > deadline:
                names = ", ".join(process.name for process in waiting)
                raise StackError(f"not ready after {_START_SECONDS:.0f} s: {names}; see `tandem logs`")
            time.sleep(_POLL_SECONDS)

    def _is_ready(self, process: Process) -> bool:
        port = self.ports[process.name]["main"]
        match process.name:
            case "redis":
                return answers_ping(port)
            case "jaeger":
                return answers_http(f"http://127.0.0.1:{port}/api/services")
        if process.speaks_http:
            return answers_http(f"http://127.0.0.1:{port}{process.health}")
        return is_serving(port, process.health)

    def _tail(self, process: str, lines: int = 15) -> str:
        try:
            return "\n".join(self.log(process).read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""

    def _start_supervisor(self) -> None:
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        for process in self.processes:
            self.log(process.name).unlink(missing_ok=True)
        file = self.folder / "supervisord.conf"
        file.write_text(self._configuration())
        done = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(file)],
            env={**os.environ, **self.environment, _MARK: str(self.folder)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise StackError(f"supervisord does not start: {done.stderr or done.stdout}")
        written = {
            "gateway": self.gateway,
            "http": self.http,
            "jaeger": self.jaeger,
            **asdict(self),
            "folder": str(self.folder),
        }
        self.file.write_text(json.dumps(written, indent=2) + "\n")
        deadline = time.monotonic() + 10
        while not self._socket.exists():
            if time.monotonic() > deadline:
                raise StackError(f"supervisord does not answer; see {self.folder / 'supervisord.log'}")
            time.sleep(_POLL_SECONDS)

    def _configuration(self) -> str:
        head = {
            "supervisord": {
                "logfile": str(self.folder / "supervisord.log"),
                "pidfile": str(self._pidfile),
                "directory": str(self.folder),
            },
            "unix_http_server": {"file": str(self._socket)},
            "rpcinterface:supervisor": {
                "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
            },
        }
        sections = head | {
            f"program:{process.name}": self._section(process, priority)
            for priority, process in enumerate(self.processes)
        }
        lines = []
        for name, values in sections.items():
            lines += [f"[{name}]", *(f"{key} = {value}" for key, value in values.items())]
        return "\n".join(lines) + "\n"

    def _section(self, process: Process, priority: int) -> dict[str, str]:
        found = program(self, process)
        environment = ",".join(f'{name}="{value}"' for name, value in found.environment.items())
        return {
            "command": " ".join(found.command).replace("%", "%%"),
            "environment": environment.replace("%", "%%"),
            "stdout_logfile": str(self.log(process.name)),
            "priority": str(priority),
            "redirect_stderr": "true",
            "autostart": "false",
            "autorestart": "false",
            "startsecs": "0",
            "stopasgroup": "true",
            "killasgroup": "true",
            "stopwaitsecs": "15",
        }

    @property
    def _socket(self) -> Path:
        return self.folder / "supervisor.sock"

    @property
    def _pidfile(self) -> Path:
        return self.folder / "supervisord.pid"


def plan_stack(profile: str = DEFAULT_PROFILE, *, jaeger: bool = False) -> Stack:
    """A stack on the preferred ports, or on free ones where they are taken. Raises StackError when a binary is missing.

    `jaeger`: send every trace to the Jaeger that TANDEM_JAEGER names, or to one that the stack starts.
    """
    folder = state_folder()
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("redis-server", "temporal"):
        require_binary(name)
    external = os.environ.get("TANDEM_JAEGER", "") if jaeger else ""
    if external and not jaeger_api.answers(external):
        raise StackError(f"no Jaeger answers at {external}, the value of TANDEM_JAEGER")
    if jaeger and not external:
        require_jaeger()
    ports = choose_ports(with_jaeger=jaeger and not external)
    environment = {
        "TANDEM_MODELS": str(models_folder()),
        "TANDEM_PROFILES_PATH": os.pathsep.join(str(f.resolve()) for f in profile_folders()),
        "TANDEM_THREADS": str(engine_threads()),
        "TRANSFORMERS_VERBOSITY": "error",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    if jaeger:
        environment |= _trace_export(ports, external)
    return Stack(folder, profile, ports, environment, external)


def open_stack() -> Stack | None:
    """The stack that runs from the state folder; None when none does."""
    written = read_stack()
    if written is None:
        return None
    stack = Stack(state_folder(), written["profile"], written["ports"])
    return stack if stack.is_up() else None


def _trace_export(ports: dict[str, dict[str, int]], external: str) -> dict[str, str]:
    """An external Jaeger is assumed to take OTLP on its standard port, unless the environment names another."""
    if external:
        standard = f"http://{urlsplit(external).hostname}:4317"
        endpoint = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", standard)
    else:
        endpoint = f"http://127.0.0.1:{ports['jaeger']['otlp']}"
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "200"}


def _processes_of(folder: Path) -> list[psutil.Process]:
    """Every process that was started for this folder, including those below a supervisord that was killed."""
    return [process for process in psutil.process_iter() if _belongs_to(folder, process)]


def _belongs_to(folder: Path, process: psutil.Process) -> bool:
    try:
        if process.environ().get(_MARK) == str(folder):
            return True
        # Redis overwrites its environment with its title, but its working directory is the folder.
        return process.name() in ("redis-server", "valkey-server") and process.cwd() == str(folder)
    except (psutil.Error, FileNotFoundError):  # it is another user's, or about to end
        return False
