"""What `tandem doctor` checks of this machine and of the local stack on it."""

from __future__ import annotations

import json as json_module
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tandem.errors import UserError
from tandem.method.errors import TandemError
from tandem.method.profile.profile import load_profile
from tandem.paths import DEFAULT_PROFILE, REPOSITORY, find_binary, models_folder, profile_folders, read_stack

_NEEDED_DISK_GB, _NEEDED_MEMORY_GB = 10, 6
_FEWEST_REQUESTS, _LARGEST_SHIFT = 20, 1.0
_ALLOW_WEAK = "TANDEM_CHECKER_ALLOW_WEAK_SANDBOX"
_YES = ("1", "on", "t", "true", "y", "yes")  # as the service's settings read it


@dataclass(frozen=True, slots=True)
class MachineCheck:
    """`advice` says what to do when it is not `ok`; a check that is not `required` only warns."""

    name: str
    ok: bool
    found: str
    advice: str = ""
    required: bool = True


def local_checks(profile: str = DEFAULT_PROFILE) -> Iterator[MachineCheck]:
    """Tell whether `tandem up` can run the pair of `profile`."""
    if find_spec("psutil") is None:
        yield MachineCheck("packages", False, "psutil is not installed", "run `make setup`")
        return
    for program in ("redis-server", "temporal"):
        path = find_binary(program)
        yield MachineCheck(program, path is not None, str(path or "not found"), "run `make setup`, or put one on PATH")
    yield _profiles(profile)
    yield _sandbox()
    if _runs_models(profile):
        yield _models(profile)
        yield _engine()
        yield from _room()
    if stack := _stack():
        yield stack
    if drift := _drift():
        yield drift


def _runs_models(profile: str) -> bool:
    """Tell whether a model of the profile runs on this machine; a profile that cannot be read is taken for one that
    has.
    """
    from tandem.local.catalogue import ModelError, models_of

    try:
        return bool(models_of(profile))
    except ModelError:
        return True


def _room() -> Iterator[MachineCheck]:
    import psutil

    memory = psutil.virtual_memory().available / 1e9
    yield MachineCheck(
        "memory", memory >= _NEEDED_MEMORY_GB, f"{memory:.0f} GB free",
        f"the default pair needs {_NEEDED_MEMORY_GB} GB of memory: close other programs", required=False,
    )  # fmt: skip
    disk = shutil.disk_usage(_existing(models_folder())).free / 1e9
    yield MachineCheck(
        "disk", disk >= _NEEDED_DISK_GB, f"{disk:.0f} GB free",
        f"downloading the default pair needs {_NEEDED_DISK_GB} GB: free some, or set TANDEM_MODELS", required=False,
    )  # fmt: skip


def _profiles(wanted: str) -> MachineCheck:
    """Return every profile of every folder that is searched; a broken one is named with what is wrong."""
    folders = profile_folders()
    names = sorted({file.parent.name for folder in folders for file in folder.glob("*/profile.toml")})
    wrong = []
    for name in names:
        try:
            load_profile(name, tuple(folders))
        except TandemError as error:
            wrong.append(str(error))
    found = "; ".join(wrong) or f"{', '.join(names) or 'none'} in {os.pathsep.join(map(str, folders))}"
    advice = "mend the file" if wrong else f"no {wanted} there: set TANDEM_PROFILES_PATH to folders of profiles"
    return MachineCheck("profiles", not wrong and wanted in names, found, advice)


def _models(profile: str) -> MachineCheck:
    from tandem.local.catalogue import catalogue, models_of
    from tandem.local.layout import engine_name
    from tandem.local.models import fault_of

    try:
        faults = {name: fault for name in models_of(profile) if (fault := fault_of(name, engine_name()))}
    except UserError as error:
        return MachineCheck("models", False, str(error), "set TANDEM_PROFILES_PATH to folders of profiles")
    found = "; ".join(f"{name} {fault}" for name, fault in faults.items()) or str(models_folder())
    broken = [name for name in faults if (models_folder() / name).is_dir()]
    by_hand = [name for name in faults if name not in catalogue()]
    advice = "run `tandem models pull`"
    if by_hand:
        advice = f"put {' and '.join(by_hand)}, which the catalogue does not have, into {models_folder()}"
    elif broken:
        advice = f"delete {' and '.join(str(models_folder() / name) for name in broken)}, and {advice}"
    return MachineCheck("models", not faults, found, advice)


def _engine() -> MachineCheck:
    from tandem.local.catalogue import runs_gguf
    from tandem.local.layout import engine_name

    name = engine_name()
    if not runs_gguf(name):
        return MachineCheck("engine", True, name)
    is_installed = find_spec("xllamacpp") is not None
    return MachineCheck(
        "engine", is_installed, f"{name}: llama.cpp, without a conversion of models", "run `make setup`"
    )


def _stack() -> MachineCheck | None:
    """Return each process of the local stack. None while no stack is up."""
    from tandem.local.planning import open_stack

    stack = open_stack()
    if stack is None:
        return None
    try:
        rows = stack.status()
    except UserError as error:
        return MachineCheck("local stack", False, "its supervisor died", str(error))
    unready = ", ".join(f"{row.name} is {row.state}" for row in rows if row.state != "ready")
    ended = ", ".join(f"{row.name} ended {row.times_ended}" for row in rows if row.exits)
    found = unready or f"{len(rows)} processes are ready" + (f" ({ended})" if ended else "")
    return MachineCheck(
        "local stack", not unready, found, "run `tandem up`, which starts what has ended; see `tandem logs`"
    )


def _sandbox() -> MachineCheck:
    """Return what isolates the code that the answer checker runs. Found in a process of its own: it forks, and drops
    its rights.
    """
    command = [sys.executable, "-m", "services.answer_checker.sandbox"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return MachineCheck("sandbox", False, last, "run `make setup`")
    return judge_isolation(json_module.loads(done.stdout), os.environ.get(_ALLOW_WEAK, ""))


def judge_isolation(isolation: dict[str, Any], allowed: str) -> MachineCheck:
    """Judge what the sandbox says of this machine: `holds`, names of layers, `lacks`, the reason of each other one,
    and `is_weak`.
    """
    reasons = "; ".join(f"no {layer}: {reason}" for layer, reason in isolation["lacks"].items())
    found = ", ".join(isolation["holds"]) + (f" ({reasons})" if reasons else "")
    return MachineCheck(
        "sandbox",
        not isolation["is_weak"],
        found,
        "code in answers could change your files: that needs seccomp, and namespaces or landlock. Run Tandem on "
        f"Linux 5.13 or newer, or, for answers of your own only, set {_ALLOW_WEAK}=true",
        required=allowed.lower() not in _YES,
    )


def _drift() -> MachineCheck | None:
    """Tell whether the questions resemble those that the scorer was trained on. None while that is unknown."""
    stack = read_stack()
    if stack is None:
        return None
    if "sufficiency-scorer" not in stack["ports"]:
        return None
    port = stack["ports"]["sufficiency-scorer"]["metrics"]
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2) as reply:
            return judge_drift(reply.read().decode())
    except OSError:
        return None


def judge_drift(metrics: str) -> MachineCheck | None:
    """Judge the drift by the scorer's /metrics. None before enough requests were scored."""
    from prometheus_client.parser import text_string_to_metric_families

    samples = [s for family in text_string_to_metric_families(metrics) for s in family.samples]
    seen = {s.labels["profile"]: s.value for s in samples if s.name == "tandem_scorer_drift_requests"}
    shifts = [
        (s.value, s.labels["feature"], seen[s.labels["profile"]])
        for s in samples
        if s.name == "tandem_scorer_feature_shift" and seen[s.labels["profile"]] >= _FEWEST_REQUESTS
    ]
    if not shifts:
        return None
    shift, feature, requests = max(shifts, key=lambda found: abs(found[0]))
    return MachineCheck(
        "questions",
        abs(shift) < _LARGEST_SHIFT,
        f"{feature} lies {shift:+.1f} standard deviations from the scorer's training, over {requests:.0f} requests",
        "these questions differ from those that the scorer was trained on: run `tandem eval --data FILE` on some of "
        "yours to see whether its scores still hold",
        required=False,
    )


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder
