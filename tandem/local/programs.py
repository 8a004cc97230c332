"""Command and environment of each process of the local stack."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tandem.local.certificates import access_environment, acl_file, certificate_environment
from tandem.local.layout import FURTHER_EXECUTORS, JOINED, MODEL_APIS, PROCESSES, Layout, Process, StackError, named
from tandem.method.profile.endpoint import FILE
from tandem.method.profile.profile import Profile, load_profile
from tandem.paths import REPOSITORY, find_binary, profile_folders

LAUNCHER = "services.shared.process.launch"
JAEGER_IMAGE = "jaegertracing/jaeger:2.20.0"
TEMPORAL_FLAGS = (
    # Both are needed for a cancel to be pushed to an activity at once, without waiting for a heartbeat.
    "--dynamic-config-value", "system.enableCancelActivityWorkerCommand=true",
    "--dynamic-config-value", "frontend.WorkerCommandsEnabled=true",
    # The development server polls each queue 20 times a second by default: 50 ms for every step.
    "--dynamic-config-value", "history.transferProcessorMaxPollRPS=2000",
    # Tenants take turns where work waits in a queue (the fairness keys that the gateway sets).
    "--dynamic-config-value", "matching.enableFairness=true",
    # A queue has four parts by default, and a free slot asks one of them: who has waited for longest may not be in it.
    "--dynamic-config-value", "matching.numTaskqueueReadPartitions=1",
    "--dynamic-config-value", "matching.numTaskqueueWritePartitions=1",
    # Its caches hold an hour of ended workflows by default, some 60 kB each.
    "--dynamic-config-value", "history.hostLevelCacheMaxSize=1000",
    "--dynamic-config-value", "history.eventsHostLevelCacheMaxSizeBytes=33554432",
    # A killed server loses nothing; a power failure may. Waiting for the disk costs 3 ms at every step.
    "--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=off",
    # The attributes that `tandem request list --where` searches by (SEARCH_ATTRIBUTES of tandem.method).
    "--search-attribute", "TandemCostUsd=Double", "--search-attribute", "TandemSavedRatio=Double",
    "--search-attribute", "TandemStopStage=Int", "--search-attribute", "TandemStopReason=Keyword",
    "--search-attribute", "TandemProfile=Keyword", "--search-attribute", "TandemTenant=Keyword",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Program:
    """What supervisord starts. `environment` is added to the stack's."""

    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)


def program(layout: Layout, process: Process) -> Program:
    """Raises StackError when a binary is missing."""
    match process.kind:
        case "redis":
            return _redis(layout)
        case "temporal":
            return _temporal(layout)
        case "jaeger":
            return _jaeger(layout)
    return Program([sys.executable, "-m", LAUNCHER, process.module], _environment(layout, process))


def withheld(layout: Layout, process: Process) -> dict[str, str]:
    """Keys of endpoints come from the environment of `tandem up`, which every process inherits: only the role's own
    gets one.
    """
    keys = {
        (pair, role): model.api.key
        for pair in layout.pairs
        for role, model in load_profile(pair, tuple(profile_folders())).models.items()
        if model.api
    }
    own = {keys.get((process.pair or layout.profile, role)) for role in process.runs}
    return {key: "" for key in keys.values() if key and not key.startswith(FILE) and key not in own}


def left_out(profile: Profile, *, tls: bool) -> set[str]:
    """Processes that a stack of this profile does not need. With TLS each process has an identity, so that no two are
    joined.
    """
    joins = profile.llm.api is not None and profile.slm.api is not None and not tls
    unscored = {"sufficiency-scorer"} if profile.stop.is_off else set()
    unnamed = {process.name for role, process in FURTHER_EXECUTORS.items() if role not in profile.models}
    return unscored | unnamed | (JOINED if joins else {MODEL_APIS.name})


def require_binary(name: str) -> Path:
    """Raises StackError when it is not installed."""
    found = find_binary(name)
    if found is None:
        raise StackError(f"{name} is not installed: `make setup` installs it, or put one on PATH")
    return found


def require_jaeger() -> None:
    """Raises StackError when there is neither a binary nor a running Docker."""
    if find_binary("jaeger") is None and not _has_docker():
        raise StackError(
            "Jaeger is not installed: run `make tools TOOLS=jaeger`, put a `jaeger` on PATH, start Docker, or set "
            "TANDEM_JAEGER=http://host:16686 to one that runs elsewhere"
        )


def _environment(layout: Layout, process: Process) -> dict[str, str]:
    ports = layout.ports[process.name]
    common = {
        "TANDEM_PORT": str(ports["main"]),
        "TANDEM_METRICS_PORT": str(ports["metrics"]),
        "TANDEM_DRAIN": "2",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")])),
    }
    if layout.tls:
        common |= certificate_environment(layout.certificates, process.kind)
        common |= access_environment(layout.certificates, process.acts_as or process.kind)
    if process.isolated:
        return common
    if process.speaks_http:
        return {**common, "TANDEM_GATEWAY": layout.internal_gateway, "TANDEM_JAEGER": layout.jaeger}
    common |= {
        "REDIS_URL": f"redis://{layout.address('redis')}/0",
        "TANDEM_PROFILE": process.pair or layout.profile,
        "TANDEM_PROFILES": ",".join(layout.pairs if process.kind == "gateway" else [process.pair or layout.profile]),
        "OMP_WAIT_POLICY": "passive",
        "GOMP_SPINCOUNT": "2000",  # services.models.engine gives the reason
    }
    if process.runs_model:
        common["TANDEM_JOURNAL"] = str(layout.folder / named("journal", process.pair))
    if "http" in ports:
        common["TANDEM_HTTP_PORT"] = str(ports["http"])
    if process.uses_temporal:
        common["TEMPORAL_ADDRESS"] = layout.address("temporal")
        common["TANDEM_FILES"] = os.environ.get("TANDEM_FILES") or str(layout.folder / "files")
    if process.kind == "gateway":
        common["TANDEM_MAX_STARTING"] = os.environ.get("TANDEM_MAX_STARTING") or str(min(4, os.cpu_count() or 1))
    if process.runs_model and not os.environ.get("TANDEM_PAYLOAD_KEYS"):  # its files are in clear
        folder = os.environ.get("TANDEM_SAVED_PREFIXES") or str(layout.folder / "prefixes" / process.name)
        common["TANDEM_SAVED_PREFIXES"] = folder
    if "internal" in ports and layout.tls:
        common["TANDEM_INTERNAL_PORT"] = str(ports["internal"])
    if role := next((role for role, each in FURTHER_EXECUTORS.items() if each.name == process.kind), ""):
        common["TANDEM_ROLE"] = role
    if process.kind == "worker":
        common |= _services(layout, process.pair)
    return common


def _services(layout: Layout, pair: str) -> dict[str, str]:
    """Return the addresses that the worker of a pair calls."""
    called = [process for process in PROCESSES if process.runs_model or process.isolated]
    found = {process.name: layout.serving(process, pair) for process in called}
    further = {role: name for role, p in FURTHER_EXECUTORS.items() if (name := layout.serving(p, pair))}
    return {f"TANDEM_{name.replace('-', '_').upper()}": layout.address(by) for name, by in found.items() if by} | {
        "TANDEM_SLM_EXECUTORS": ",".join(f"{role}={layout.address(name)}" for role, name in further.items())
    }


def _redis(layout: Layout) -> Program:
    port = str(layout.ports["redis"]["main"])
    options = ["--save", "", "--appendonly", "no", "--dir", str(layout.folder)]
    if layout.tls:
        options += ["--aclfile", str(acl_file(layout.certificates))]
    return Program([str(require_binary("redis-server")), "--port", port, "--bind", "127.0.0.1", *options])


def _temporal(layout: Layout) -> Program:
    ports = layout.ports["temporal"]
    command = [
        str(require_binary("temporal")), "server", "start-dev", "--headless", "--ip", "127.0.0.1",
        "--port", str(ports["main"]), "--http-port", str(ports["http"]), "--metrics-port", str(ports["metrics"]),
        "--db-filename", str(layout.folder / "temporal.db"), "--log-level", "warn", *TEMPORAL_FLAGS,
        # A page whose name was made to point to this machine would read every question by the HTTP API.
        "--dynamic-config-value", 'frontend.httpAllowedHosts=["localhost:*","127.0.0.1:*"]',
    ]  # fmt: skip
    return Program(command)


def _jaeger(layout: Layout) -> Program:
    ports = layout.ports["jaeger"]
    variables = {
        "JAEGER_QUERY_PORT": str(ports["main"]),
        "JAEGER_QUERY_GRPC_PORT": str(ports["query-grpc"]),
        "JAEGER_OTLP_PORT": str(ports["otlp"]),
        "JAEGER_OTLP_HTTP_PORT": str(ports["otlp-http"]),
        "JAEGER_HEALTH_PORT": str(ports["health"]),
    }
    configuration = REPOSITORY / "deploy" / "jaeger.yaml"
    if find_binary("jaeger") is None:
        return Program(_jaeger_container(configuration, variables, ports.values()))
    return Program([str(require_binary("jaeger")), "--config", str(configuration)], variables)


def _jaeger_container(configuration: Path, variables: Mapping[str, str], ports: Iterable[int]) -> list[str]:
    """Jaeger in a container with the same configuration; it ends with the `docker run` that started it."""
    publish = [flag for port in ports for flag in ("-p", f"127.0.0.1:{port}:{port}")]
    settings = [flag for name, value in variables.items() for flag in ("-e", f"{name}={value}")]
    mount = ["-v", f"{configuration}:/etc/jaeger.yaml:ro", "-e", "JAEGER_LISTEN_HOST=0.0.0.0"]
    return ["docker", "run", "--rm", *publish, *settings, *mount, JAEGER_IMAGE, "--config", "/etc/jaeger.yaml"]


def _has_docker() -> bool:
    try:
        return subprocess.run(["docker", "info"], capture_output=True, timeout=10).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
