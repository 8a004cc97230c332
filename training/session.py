"""One collection from start to end: load the pair, go on where the file stops, save as it grows."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from services.engine.settings import EngineSettings
from services.engine.tokenizer import ChatTokenizer
from services.engine.transformers_engine import TransformersEngine
from tandem.method.profile import Profile
from training.collect import Collector, Run
from training.datasets import Dataset
from training.store import Origin, StoreError, read, write

Progress = Callable[[int, int, int], None]
"""(questions done, questions in all, tokens written since the start)"""
_SAVE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Machine:
    """How the pair is run. `width` is questions at once; each engine has `threads` of the processor to itself."""

    threads: int = 1
    width: int = 64
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class Scope:
    """What is asked of each question: `extras` and `only_question` as in training.collect.Collector."""

    extras: bool = True
    only_question: bool = False


def origin_of(profile: Profile, dataset: Dataset, seed: int, scope: Scope, models: Path) -> Origin:
    told = profile.model_dump(include={"handoff", "llm", "slm", "prompts", "execution"}, mode="json")
    told["stages"] = profile.prompt_fingerprint()["stages"]
    told["execution"] = {name: told["execution"][name] for name in ("max_tokens", "answer_format")}  # what shapes texts
    marks = {m.name: (models / m.name / "tandem.json") for m in (profile.llm, profile.slm)}
    return Origin(
        pair=profile.name,
        profile=told,
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
    """Collect `n` questions of `dataset` (None: all) into `out`; those that it holds are not asked again.

    Raises StoreError when `out` was made by something else, OSError when a model's weights cannot be read.
    """
    origin = origin_of(profile, dataset, seed, scope, models)
    runs = _with_questions(_go_on(out, origin), dataset)
    asked = dataset.sample(n, seed).items
    done = {run.question for run in runs}
    missing = [item for item in asked if item.id not in done]
    progress(len(asked) - len(missing), len(asked), 0)
    if not missing:
        write(out, origin, runs)
        return runs
    llm, slm = (_engine(profile, role, models, machine) for role in ("llm", "slm"))
    try:
        collector = Collector(profile, llm, slm, extras=scope.extras, only_question=scope.only_question)
        saved_at = time.monotonic()
        async for found in collector.collect(missing, machine.width):
            runs += found
            done.add(found[0].question)
            progress(
                sum(item.id in done for item in asked),
                len(asked),
                llm.counters.output_tokens + slm.counters.output_tokens,
            )
            if time.monotonic() - saved_at > _SAVE_SECONDS:
                write(out, origin, runs)
                saved_at = time.monotonic()
    finally:
        write(out, origin, runs)
        llm.stop()
        slm.stop()
    return runs


def _go_on(out: Path, origin: Origin) -> list[Run]:
    if not out.exists():
        return []
    before, runs = read(out)
    if different := before.differs(origin):
        raise StoreError(f"{out} was made with another {', '.join(different)}: choose another --out, or move it away")
    return runs


def _with_questions(runs: list[Run], dataset: Dataset) -> list[Run]:
    """Files of before runs kept their questions get them."""
    texts = {item.id: item.question for item in dataset.items}
    return [replace(run, asked=texts[run.question]) if run.name == "llm" else run for run in runs]


def _engine(profile: Profile, role: str, models: Path, machine: Machine) -> TransformersEngine:
    model = getattr(profile, role)
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


def summary(runs: list[Run]) -> list[dict[str, Any]]:
    """For each way to an answer: how many, right, mean tokens, truncated."""
    table = []
    for name, stage in sorted({(run.name, run.stage) for run in runs}):
        of = [run for run in runs if (run.name, run.stage) == (name, stage)]
        table.append(
            {
                "run": name if name in ("llm", "concise") else f"{name} after stage {stage}",
                "n": len(of),
                "accuracy": sum(run.right for run in of) / len(of),
                "insight_tokens": sum(run.insight_tokens for run in of) / len(of),
                "output_tokens": sum(run.output_tokens for run in of) / len(of),
                "truncated": sum(run.truncated for run in of),
            }
        )
    return table
