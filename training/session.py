"""One collection from start to end: load the pair, resume from the file, save periodically."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from services.engine.settings import EngineSettings
from services.engine.tokenizer import ChatTokenizer
from services.engine.transformers_engine import TransformersEngine
from tandem.method.profile import Profile
from training.collect import Collector, Run
from training.datasets import Dataset
from training.store import CollectedProfile, Origin, StoreError, read, write

Progress = Callable[[int, int, int], None]
"""(questions done, questions in total, tokens generated since the start)"""
_SAVE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Machine:
    """How the pair runs: `width` questions at a time; each of the two engines has `threads` processor threads."""

    threads: int = 1
    width: int = 64
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class Scope:
    """Which runs to collect per question: `extras` and `only_question` as in training.collect.Collector."""

    extras: bool = True
    only_question: bool = False


def origin_of(profile: Profile, dataset: Dataset, seed: int, scope: Scope, models: Path) -> Origin:
    marks = {m.name: (models / m.name / "tandem.json") for m in (profile.llm, profile.slm)}
    return Origin(
        pair=profile.name,
        profile=CollectedProfile.of(profile),
        dataset=dataset.name,
        dataset_sha256=dataset.sha256,
        order_seed=seed,
        tokenizer_sha256=ChatTokenizer.load(models / profile.slm.name).sha256,
        models={name: mark.read_text() if mark.is_file() else "put there by hand" for name, mark in marks.items()},
        versions={
            **{n: version(n) for n in ("torch", "transformers", "math-verify")},
            "python": platform.python_version(),
        },
        command=" ".join(["tandem", *sys.argv[1:]]),
        only_question=scope.only_question,
    )


async def collect(
    profile: Profile, dataset: Dataset, n: int | None, seed: int, scope: Scope, out: Path,
    models: Path, machine: Machine, progress: Progress,
) -> list[Run]:  # fmt: skip
    """Collect `n` questions of `dataset` (None: all) into `out`; questions that `out` already holds are skipped.

    Raises StoreError if `out` has another origin, OSError if a model's weights cannot be read.
    """
    origin = origin_of(profile, dataset, seed, scope, models)
    runs = _with_questions(_runs_so_far(out, origin), dataset)
    sample = dataset.sample(n, seed).items
    done = {run.question for run in runs}
    missing = [item for item in sample if item.id not in done]
    progress(len(sample) - len(missing), len(sample), 0)
    if not missing:
        write(out, origin, runs)
        return runs
    llm, slm = (_start_engine(profile, role, models, machine) for role in ("llm", "slm"))
    try:
        collector = Collector(profile, llm, slm, extras=scope.extras, only_question=scope.only_question)
        saved_at = time.monotonic()
        async for found in collector.collect(missing, machine.width):
            runs += found
            done.add(found[0].question)
            generated = llm.counters.output_tokens + slm.counters.output_tokens
            progress(sum(item.id in done for item in sample), len(sample), generated)
            if time.monotonic() - saved_at > _SAVE_SECONDS:
                write(out, origin, runs)
                saved_at = time.monotonic()
    finally:
        write(out, origin, runs)
        llm.stop()
        slm.stop()
    return runs


def _runs_so_far(out: Path, origin: Origin) -> list[Run]:
    """Raises StoreError."""
    if not out.exists():
        return []
    before, runs = read(out)
    if different := before.differences(origin):
        raise StoreError(f"{out} was made with another {', '.join(different)}: choose another --out, or move it away")
    return runs


def _with_questions(runs: list[Run], dataset: Dataset) -> list[Run]:
    """Adds the questions' texts, which old files lack."""
    texts = {item.id: item.question for item in dataset.items}
    return [replace(run, asked=texts[run.question]) if run.name == "llm" else run for run in runs]


def _start_engine(profile: Profile, role: Literal["llm", "slm"], models: Path, machine: Machine) -> TransformersEngine:
    model = profile.llm if role == "llm" else profile.slm
    engine = TransformersEngine(
        EngineSettings(
            path=models / model.name,
            name=model.name,
            dtype=model.dtype,
            quantization=model.quantization,
            device=machine.device,
            threads=machine.threads,
            max_batch=machine.width,
            max_waiting=1 << 20,
        )
    )
    engine.start()
    return engine


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One kind of run; token counts are means."""

    run: str
    n: int
    accuracy: float
    insight_tokens: float
    output_tokens: float
    truncated: int


def summary(runs: list[Run]) -> list[RunSummary]:
    """Per kind of run and stage."""
    kinds = sorted({(run.name, run.stage) for run in runs})
    return [_summary_of([run for run in runs if (run.name, run.stage) == kind]) for kind in kinds]


def _summary_of(runs: list[Run]) -> RunSummary:
    first, n = runs[0], len(runs)
    return RunSummary(
        run=first.name if first.name in ("llm", "concise") else f"{first.name} after stage {first.stage}",
        n=n,
        accuracy=sum(run.right for run in runs) / n,
        insight_tokens=sum(run.insight_tokens for run in runs) / n,
        output_tokens=sum(run.output_tokens for run in runs) / n,
        truncated=sum(run.truncated for run in runs),
    )
