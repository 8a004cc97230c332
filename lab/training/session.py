"""One collection from start to end: load the pair, resume from the file, save periodically."""

from __future__ import annotations

import asyncio
import platform
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from lab.training.checking import check_runs, checker_version, repair, unrepaired, without_verdicts
from lab.training.collect import Collector, Run
from lab.training.datasets import Dataset, Item
from lab.training.errors import StoreError
from lab.training.further import answer, compare_all, unasked, without
from lab.training.machine import EstimatedTokens, Machine, engine_of, tokenizer_of
from lab.training.refusals import Refusals
from lab.training.store import CollectedModel, CollectedProfile, Origin, read, write
from services.models.engine.batch import run_all
from services.models.engine.tokenizer import ChatTokenizer
from services.sufficiency_scorer.artefact import computed_by
from tandem.method.profile.profile import Profile

Progress = Callable[[int, int, int], None]
"""(questions done, questions in total, tokens generated since the start)"""
_SAVE_SECONDS = 60.0
_REPORT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Scope:
    """Which runs to collect per question: `extras` and `only_question` as in lab.training.collect.Collector."""

    extras: bool = True
    only_question: bool = False


@dataclass(frozen=True, slots=True)
class Gathered:
    """`left_out`: questions that a model refuses, by id, with the reason; `runs` has nothing of them."""

    runs: list[Run]
    left_out: dict[str, str]


def origin_of(profile: Profile, dataset: Dataset, seed: int, scope: Scope, models: Path, engine: str) -> Origin:
    marks = {m.name: (models / m.name / "tandem.json") for m in profile.models.values()}
    return Origin(
        pair=profile.name,
        profile=CollectedProfile.of(profile),
        dataset=dataset.name,
        dataset_sha256=dataset.sha256,
        order_seed=seed,
        tokenizer_sha256=tokenizer_of(profile, models).sha256,
        models={name: mark.read_text() if mark.is_file() else "put there by hand" for name, mark in marks.items()},
        versions={
            **_versions("torch", "transformers", "math-verify"),
            "python": platform.python_version(),
        },
        command=" ".join(["tandem", *sys.argv[1:]]),
        engine=engine,
        only_question=scope.only_question,
        checker=checker_version(profile),
        repair=profile.prompts.repair,
        further={role: CollectedModel.of(profile.models[role]) for role in profile.small_roles[1:]},
    )


def _versions(*libraries: str) -> dict[str, str]:
    """Of those that are installed: models at endpoints need no engine here."""
    found = dict[str, str]()
    for name in libraries:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


async def collect(
    profile: Profile, dataset: Dataset, n: int | None, seed: int, scope: Scope, out: Path,
    models: Path, machine: Machine, progress: Progress,
) -> Gathered:  # fmt: skip
    """Collect `n` questions of `dataset` (None: all) into `out`; questions that `out` already holds are skipped.

    Programs are then checked, and where the profile has a prompt for it, the small model's failed ones are repaired
    once. At last the profile's further small models answer the bare questions, one model after the other, and programs
    are compared where the profile's checks do that.
    Raises StoreError if `out` has another origin, or an API does not answer or refuses every question, OSError if a
    model's weights cannot be read.
    """
    if profile.slm.api and not scope.only_question:
        raise StoreError(f"{profile.slm.name} is at an API, which scores no prompt: collect with --only-question")
    origin, runs = _so_far(out, origin_of(profile, dataset, seed, scope, models, machine.engine))
    tokenizer = tokenizer_of(profile, models)
    runs = _with_questions(runs, dataset, tokenizer)
    items = {item.id: item for item in dataset.items}
    sample = dataset.sample(n, seed).items
    done = {run.question for run in runs}
    missing = [item for item in sample if item.id not in done]
    refusals = Refusals(len(done))
    progress(len(sample) - len(missing), len(sample), 0)
    if missing:
        with engine_of(profile, "llm", models, machine) as llm, engine_of(profile, "slm", models, machine) as slm:
            origin = origin.model_copy(update={"computed_by": slm.info.provider or computed_by(slm.info)})
            collector = Collector(profile, llm, slm, extras=scope.extras, only_question=scope.only_question)

            def report() -> None:
                generated = llm.counters.output_tokens + slm.counters.output_tokens
                progress(sum(item.id in done for item in sample), len(sample), generated)

            async with _saving(out, origin, runs), _each(_REPORT_SECONDS, report):
                async for found in run_all(refusals.leaving_out(collector.collect), missing, machine.width):
                    if found:
                        runs += _with_questions(found, dataset, tokenizer)
                        done.add(found[0].question)
                        report()
            refusals.end()
    runs = await check_runs(runs, items, profile, machine.programs)
    write(out, origin, runs)
    if profile.prompts.repair and (failed := unrepaired(runs)):
        with engine_of(profile, "slm", models, machine) as slm:
            async with _saving(out, origin, runs):
                again = partial(repair, items=items, profile=profile, slm=slm)
                work = refusals.leaving_out(again, lambda run: run.question)
                async for run in run_all(work, failed, machine.width):
                    runs += [run] if run else []
        runs = await check_runs(runs, items, profile, machine.programs)
        write(out, origin, runs)
    runs = await _with_further(profile, items, out, origin, runs, models, machine, refusals)
    return Gathered(runs, refusals.left_out)


async def _with_further(
    profile: Profile,
    items: Mapping[str, Item],
    out: Path,
    origin: Origin,
    runs: list[Run],
    models: Path,
    machine: Machine,
    refusals: Refusals,
) -> list[Run]:
    for role in profile.small_roles[1:]:
        if due := unasked(runs, items, role):
            with engine_of(profile, role, models, machine) as engine:
                async with _saving(out, origin, runs):
                    work = refusals.leaving_out(partial(answer, profile=profile, role=role, engine=engine))
                    async for run in run_all(work, due, machine.width):
                        runs += [run] if run else []
            runs = await check_runs(runs, items, profile, machine.programs)
    compared = await compare_all(runs, items, profile, machine.programs)
    runs = [run for run in compared if run.question not in refusals.left_out]
    write(out, origin, runs)
    return runs


@asynccontextmanager
async def _saving(out: Path, origin: Origin, runs: list[Run]) -> AsyncIterator[None]:
    """Writes `runs`, to which the block appends, each minute and however the block ends."""
    try:
        async with _each(_SAVE_SECONDS, lambda: write(out, origin, runs)):
            yield
    finally:
        write(out, origin, runs)


@asynccontextmanager
async def _each(seconds: float, call: Callable[[], None]) -> AsyncIterator[None]:
    """Calls every so many seconds while the block runs."""

    async def repeat() -> None:
        while True:
            await asyncio.sleep(seconds)
            call()

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        task.cancel()


async def check_file(
    profile: Profile, dataset: Dataset, out: Path, models: Path, programs: int, progress: Progress
) -> list[Run]:
    """Give the runs of an existing file their verdicts, `programs` at a time; no model runs. Raises StoreError."""
    origin, runs = read(out)
    if origin.dataset_sha256 != dataset.sha256:
        raise StoreError(f"{out} was collected from another {dataset.name} than {dataset.path}")
    items = {item.id: item for item in dataset.items}
    runs = _with_questions(
        _as_before(origin, runs, checker_version(profile), origin.repair), dataset, tokenizer_of(profile, models)
    )
    runs = await check_runs(runs, items, profile, programs, lambda done, total: progress(done, total, 0))
    runs = await compare_all(runs, items, profile, programs)
    write(out, origin.model_copy(update={"checker": checker_version(profile)}), runs)
    return runs


def _so_far(out: Path, origin: Origin) -> tuple[Origin, list[Run]]:
    """Raises StoreError."""
    if not out.exists():
        return origin, []
    before, runs = read(out)
    if different := before.differences(origin):
        raise StoreError(f"{out} was made with another {', '.join(different)}: choose another --out, or move it away")
    runs = _as_before(before, runs, origin.checker, origin.repair)
    runs = without(runs, [role for role in origin.further if before.asked(role) != origin.asked(role)])
    # Of a model that the profile does not name now nothing is lost.
    both = {name: getattr(before, name) | getattr(origin, name) for name in ("models", "further")}
    return origin.model_copy(update={"computed_by": before.computed_by, **both}), runs


def _as_before(before: Origin, runs: list[Run], checker: str, repair: str) -> list[Run]:
    """Without verdicts of another checker, and without repairs by another prompt."""
    if before.checker != checker:
        return without_verdicts(runs)
    return runs if before.repair == repair else [run for run in runs if run.name != "repair"]


def _with_questions(runs: list[Run], dataset: Dataset, tokenizer: ChatTokenizer | EstimatedTokens) -> list[Run]:
    """Adds the questions' texts and lengths, which old files lack."""
    texts = {item.id: item.question for item in dataset.items}

    def completed(run: Run) -> Run:
        text = texts[run.question]
        return replace(run, asked=text, question_tokens=run.question_tokens or len(tokenizer.encode(text, plain=True)))

    return [completed(run) if run.name == "llm" else run for run in runs]


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
