"""What the benchmarks share: a local stack of their own, quantiles, and where results go."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from tandem.local.supervisor import Stack, plan_stack
from tandem.method.profile import Model
from tandem.paths import models_folder
from tests.fakes import write_tokenizer

if TYPE_CHECKING:  # torch is loaded by those that run a model alone
    from services.engine.transformers_engine import TransformersEngine

RESULTS = Path(__file__).parent / "results"
_TESTS = Path(__file__).parents[1] / "tests"


@contextlib.contextmanager
def local_stack(profile: str, *, scripted: bool) -> Iterator[Stack]:
    """A stack in a state folder of its own, so that it is never the user's; engines follow a script or are real."""
    with tempfile.TemporaryDirectory(prefix="tandem-bench-") as folder, contextlib.ExitStack() as undo:
        values = {"TANDEM_STATE": f"{folder}/state"}
        if scripted:
            for name in ("scripted-llm", "scripted-slm"):
                write_tokenizer(Path(folder) / "models" / name)
            values |= {
                "TANDEM_MODELS": f"{folder}/models",
                "TANDEM_PROFILES_PATH": str(_TESTS / "profiles"),
                "TANDEM_ENGINE": "tests.fakes:make_engine",
            }
        for name, value in values.items():
            undo.callback(_restore, name, os.environ.get(name))
            os.environ[name] = value
        stack = plan_stack(profile)
        stack.up(lambda *_: None)
        try:
            yield stack
        finally:
            stack.down()


def must_be_compiled(engine: TransformersEngine) -> None:
    """Ends the process where it is not."""
    if not engine.is_compiled:
        raise SystemExit(f"{engine.info.name} is not compiled: run `make compiled`")


@contextlib.contextmanager
def model_engine(model: Model, **settings: Any) -> Iterator[TransformersEngine]:
    """Our engine on a model of the cache, as its profile says; `settings` are more fields of EngineSettings."""
    from services.engine.transformers_engine import EngineSettings, TransformersEngine

    told = {"dtype": model.dtype, "quantization": model.quantization, **settings}
    engine = TransformersEngine(EngineSettings(models_folder() / model.name, model.name, **told))
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()


def _restore(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def peak_memory_mb(stack: Stack) -> dict[str, int]:
    """The most that each process has had resident since it started."""
    found = {}
    for row in stack.status():
        with contextlib.suppress(FileNotFoundError):
            told = Path(f"/proc/{row.pid}/status").read_text()
            found[row.name] = int(told.split("VmHWM:")[1].split()[0]) // 1000
    return found


def quantiles(values: Sequence[float]) -> dict[str, float]:
    p50, p90, p99 = np.percentile(values, [50, 90, 99])
    return {
        "n": len(values),
        "p50": round(p50, 2),
        "p90": round(p90, 2),
        "p99": round(p99, 2),
        "max": round(max(values), 2),
    }


def report(name: str, result: dict[str, Any]) -> None:
    """Print a result and keep it."""
    whole = {
        "bench": name,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cores": psutil.cpu_count(), "processor": platform.machine(), "python": platform.python_version()},
        **result,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(whole, indent=2) + "\n")
    print(json.dumps(whole, indent=2))
