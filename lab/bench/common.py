"""What the benches share: engines and stacks on real models, quantiles, and the files of results."""

from __future__ import annotations

import contextlib
import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from tandem.local.layout import engine_name
from tandem.local.supervisor import Stack
from tandem.method.profile.profile import Model, Profile, load_profile
from tandem.paths import DEFAULT_PROFILE, models_folder, profile_folders

if TYPE_CHECKING:  # torch is imported only by the benches that run a model
    from services.models.engine.api import Engine

RESULTS = Path(__file__).parent / "results"
Figures = dict[str, Any]
"""A result as JSON."""


def default_profile() -> Profile:
    """The profile of the default pair."""
    return load_profile(DEFAULT_PROFILE, tuple(profile_folders()))


def local_engine(model: Model, spec: str = "", **settings: Any) -> AbstractContextManager[Engine]:
    """An engine, started, on a model of the cache as its profile configures it; `settings` are more fields of
    EngineSettings.

    `spec`: services.models.engine.registry's name; empty: the engine with which the local stack serves. Ends the
    process where the settings name int8 and the processor has none: its figures would be those of other numbers.
    """
    from services.models.engine.registry import running_engine

    if settings.get("quantization") == "int8":
        _require_int8()
    fields = {"dtype": model.dtype, "quantization": model.quantization, **settings}
    return running_engine(spec or engine_name(), {"path": models_folder() / model.name, "name": model.name, **fields})


def _require_int8() -> None:
    from services.models.engine.torch_engine import (
        int8,  # with torch, whose start and memory are not those of the other engines
    )

    if not int8.is_supported():
        raise SystemExit(int8.NEEDS)


def peak_memory_mb(stack: Stack) -> dict[str, int]:
    """The peak resident memory of each process since it started, in MB."""
    found = {}
    for row in stack.status():
        with contextlib.suppress(FileNotFoundError):
            status = Path(f"/proc/{row.pid}/status").read_text()
            found[row.name] = int(status.split("VmHWM:")[1].split()[0]) // 1000
    return found


def commit_of(checkout: Path) -> str:
    """Its commit, and whether it has changes besides."""
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """Count, median, 90th and 99th percentile, and maximum."""
    p50, p90, p99 = np.percentile(values, [50, 90, 99])
    return {
        "n": len(values),
        "p50": round(p50, 2),
        "p90": round(p90, 2),
        "p99": round(p99, 2),
        "max": round(max(values), 2),
    }


def report(name: str, figures: Mapping[str, Any]) -> None:
    """Save the figures and print them."""
    print(json.dumps(save(name, figures), indent=2))


def save(name: str, figures: Mapping[str, Any]) -> Figures:
    """Write the figures to lab/bench/results, with the time and facts about the machine."""
    whole = {
        "bench": name,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cores": psutil.cpu_count(), "processor": platform.machine(), "python": platform.python_version()},
        **figures,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(whole, indent=2) + "\n")
    return whole
