"""What the local stack consists of: its processes, their ports, and the folder that they write to.

PROCESSES is the one list of Tandem's processes. The chart is generated from it, and a test compares it with the
Dockerfile and the compose file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tandem.errors import UserError
from tandem.method.roles import LLM, SCORER, SLM, SMALL_ROLES, executor_of


class StackError(UserError):
    """The stack cannot start or stop; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process. It ends before those of the wave before it, and starts when the process that it `waits_for` is
    ready.

    `ports`: preferred numbers by purpose. `health`: the gRPC service name whose health says "ready"; a path for a
    process that speaks HTTP. `module`: what
    `python -m` runs; empty for programs that are not part of this repository. `isolated`: it runs code that a model
    wrote, so it gets no address of another process, and opens no connection. `acts_as`: the process whose rights in
    Redis it has, where not its own.

    What works for one pair runs once more for each further pair of a stack, as `worker@PAIR`.
    """

    name: str
    wave: int
    ports: Mapping[str, int]
    health: str = ""
    module: str = ""
    uses_temporal: bool = False
    isolated: bool = False
    waits_for: str = ""
    acts_as: str = ""
    runs: tuple[str, ...] = ()
    """Roles whose model it runs."""

    @property
    def kind(self) -> str:
        """The name without the pair."""
        return self.name.partition("@")[0]

    @property
    def pair(self) -> str:
        """The further pair that it works for; empty: the first one, or all."""
        return self.name.partition("@")[2]

    @property
    def runs_model(self) -> bool:
        return bool(self.runs)

    @property
    def speaks_http(self) -> bool:
        return self.health.startswith("/")

    @property
    def key(self) -> str:
        """The name in the chart's values: insight-generator -> insightGenerator."""
        first, *rest = self.name.split("-")
        return first + "".join(word.capitalize() for word in rest)


PROCESSES = (
    Process("jaeger", 0, {"main": 16686, "query-grpc": 16685, "otlp": 4317, "otlp-http": 4318, "health": 13133}),
    Process("redis", 0, {"main": 6379}),
    Process(
        "temporal", 0, {"main": 7233, "http": 7243, "metrics": 7253}, "temporal.api.workflowservice.v1.WorkflowService"
    ),
    Process(
        "insight-generator", 1, {"main": 50051, "metrics": 9451},
        "tandem.v1.InsightGenerator", "services.insight_generator", runs=(LLM,),
    ),
    Process(
        "sufficiency-scorer", 1, {"main": 50052, "http": 50062, "metrics": 9452},
        "inference.GRPCInferenceService", "services.sufficiency_scorer", runs=(SCORER,),
    ),
    Process(
        "slm-executor", 1, {"main": 50053, "metrics": 9453},
        "tandem.v1.SlmExecutor", "services.slm_executor", runs=(SLM,),
    ),
    Process(
        "answer-checker", 1, {"main": 50055, "metrics": 9455},
        "tandem.v1.AnswerChecker", "services.answer_checker", isolated=True,
    ),
    Process(
        "worker", 2, {"main": 50054, "metrics": 9454},
        "tandem.v1.Worker", "workflows.worker", uses_temporal=True, waits_for="temporal",
    ),
    Process(
        "gateway", 2, {"main": 50050, "internal": 50056, "metrics": 9450},
        "tandem.v1.TandemService", "services.gateway", uses_temporal=True, waits_for="temporal",
    ),
    Process(
        "http-gateway", 3, {"main": 8080, "metrics": 9456}, "/readyz", "services.http_gateway", waits_for="gateway"
    ),
)  # fmt: skip
OWN_PROCESSES = tuple(process for process in PROCESSES if process.module)
MODEL_APIS = Process(
    "model-apis", 1, {"main": 50057, "metrics": 9457},
    "tandem.v1.InsightGenerator", "services.model_apis", runs=(LLM, SLM),
)  # fmt: skip
"""Serves both models where others run them, in place of their two processes. In a cluster each has pods and a secret of
its own.
"""
JOINED = frozenset({"insight-generator", "slm-executor"})
FURTHER_EXECUTORS = {
    role: Process(
        executor_of(role), 1, {"main": 50058 + number, "metrics": 9458 + number},
        "tandem.v1.SlmExecutor", "services.slm_executor", runs=(role,), acts_as="slm-executor",
    )
    for number, role in enumerate(SMALL_ROLES[1:])
}  # fmt: skip
"""By role: each runs a further small model of a profile, in a process of its own also where others run all models."""
LOCAL_PROCESSES = (*PROCESSES, MODEL_APIS, *FURTHER_EXECUTORS.values())
OF_ONE_PAIR = tuple(process for process in LOCAL_PROCESSES if process.runs_model or process.name == "worker")
ANSWERING = frozenset(process.name for process in LOCAL_PROCESSES if process.name != "http-gateway")
"""What a request by gRPC needs."""


def named(process: str, pair: str) -> str:
    return f"{process}@{pair}" if pair else process


def every_process(further_pairs: Sequence[str]) -> list[Process]:
    own = [replace(each, name=named(each.name, pair)) for pair in further_pairs for each in OF_ONE_PAIR]
    return [*LOCAL_PROCESSES, *own]


@dataclass(slots=True)
class Layout:
    """The folders and files of a stack. `ports[process][purpose]`; `environment` is given to every process.
    `profile`: the pair that is served where a request names none; `further_pairs`: the others.

    `restarts`: a process that ends is started again. `tls`: the processes, and the gateway's callers, speak TLS.
    """

    folder: Path
    profile: str
    ports: dict[str, dict[str, int]]
    environment: dict[str, str] = field(default_factory=dict)
    external_jaeger: str = ""
    restarts: bool = True
    tls: bool = False
    further_pairs: Sequence[str] = ()

    @property
    def pairs(self) -> list[str]:
        return [self.profile, *self.further_pairs]

    @property
    def processes(self) -> tuple[Process, ...]:
        return tuple(process for process in every_process(self.further_pairs) if process.name in self.ports)

    def waves(self) -> list[list[Process]]:
        numbers = sorted({process.wave for process in self.processes})
        return [[process for process in self.processes if process.wave == number] for number in numbers]

    def address(self, process: str) -> str:
        return f"127.0.0.1:{self.ports[process]['main']}"

    def serving(self, process: Process, pair: str) -> str:
        """Return the process that does the work of `process` for a pair; empty where none does."""
        names = [process.name, *([MODEL_APIS.name] if process.name in JOINED else [])]
        own = [named(name, pair if process in OF_ONE_PAIR else "") for name in names]
        return next((name for name in own if name in self.ports), "")

    @property
    def gateway(self) -> str:
        """The address for clients."""
        return f"https://{self.address('gateway')}" if self.tls else self.address("gateway")

    @property
    def internal_gateway(self) -> str:
        """The address for the HTTP gateway."""
        return f"https://127.0.0.1:{self.ports['gateway']['internal']}" if self.tls else self.gateway

    @property
    def http(self) -> str:
        """URL of OpenAI's API."""
        return f"http://{self.address('http-gateway')}"

    @property
    def jaeger(self) -> str:
        """URL of the Jaeger that shows the traces: the stack's own or an external one; empty when there is none."""
        return f"http://{self.address('jaeger')}" if "jaeger" in self.ports else self.external_jaeger

    @property
    def file(self) -> Path:
        return self.folder / "stack.json"

    @property
    def certificates(self) -> Path:
        """One folder of PEM files per process."""
        return self.folder / "tls"

    @property
    def socket(self) -> Path:
        return self.folder / "supervisor.sock"

    @property
    def pidfile(self) -> Path:
        return self.folder / "supervisord.pid"

    @property
    def supervisor_log(self) -> Path:
        return self.folder / "supervisord.log"

    def log(self, process: str) -> Path:
        return self.folder / "logs" / f"{process}.log"


def engine_name() -> str:
    """Return the engine of each process that runs a model: TANDEM_ENGINE, or what device and files call for."""
    return os.environ.get("TANDEM_ENGINE", "").strip() or "auto"


def engine_threads() -> int:
    """Processor threads of each process that runs a model: TANDEM_THREADS, or the physical cores up to 8.

    Raises StackError.
    """
    import psutil

    given = os.environ.get("TANDEM_THREADS", "").strip()
    if not given:
        return min(psutil.cpu_count(logical=False) or 2, 8)
    if not given.isdecimal() or int(given) < 1:
        raise StackError(f"TANDEM_THREADS is {given!r}: set it to a number of processor threads such as 4, or unset it")
    return int(given)
