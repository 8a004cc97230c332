"""tandem collect"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from lab.verbs.offline import explained, find_profile
from tandem.cli.models import pull_missing
from tandem.cli.output import JsonFlag, console, print_json, print_table
from tandem.local.models import compiled_for
from tandem.method.profile import Profile
from tandem.paths import DEFAULT_PROFILE, models_folder

if TYPE_CHECKING:
    from lab.training.collect import Run
    from lab.training.datasets import Dataset
    from lab.training.session import Machine, Scope


def collect(
    data: Annotated[str, typer.Argument(help="A data set by name, such as math_train, mbpp_train or gsm8k, or a .jsonl file of your own.")],
    profile: Annotated[str, typer.Option(help="The pair of models with its prompts and stages.")] = DEFAULT_PROFILE,
    n: Annotated[int | None, typer.Option(help="Number of questions; default: all.", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Seed of the order in which questions are drawn.")] = 0,
    subject: Annotated[list[str] | None, typer.Option(help="Only questions of this subject; repeatable.")] = None,
    out: Annotated[Path | None, typer.Option(help="File to write; an existing one is continued.")] = None,
    extras: Annotated[bool, typer.Option(help="Also collect the concise and the forced answers that `eval` compares with.")] = True,
    only_question: Annotated[bool, typer.Option(help="Collect no insight, only both models alone and the scoring pass of the question; for `train --also`.")] = False,
    width: Annotated[int, typer.Option(help="Number of questions that run at the same time.", min=1)] = 48,
    threads: Annotated[int, typer.Option(help="Processor threads of each of the two models, which run at the same time; 0: what both were compiled for, else half of the cores.", min=0)] = 0,
    engine: Annotated[str, typer.Option(help="What runs both models: transformers, whose hidden states two kinds of scorer read, or llamacpp.")] = "transformers",
    device: Annotated[str, typer.Option(help="Where the models run: auto, cpu or cuda.")] = "auto",
    checks_only: Annotated[bool, typer.Option(help="Ask no model: check the programs of an existing file, which one of an older version lacks.")] = False,
    json: JsonFlag = False,
) -> None:  # fmt: skip
    """Collect both models' answers to a data set, to train and evaluate a stop rule on. An interrupted run is resumed.

    Programs are checked as a request's would be. Where the profile has a prompt for it, failed ones are repaired once.
    """
    with explained():
        from lab.training import datasets, session

        loaded = find_profile(profile)
        wanted = datasets.load(data)
        if subject:
            wanted = wanted.only(subject)
        target = out or default_file(loaded, wanted)
        machine = machine_for(loaded, engine, threads, width, device)
        scope = session.Scope(extras, only_question)
        if checks_only:
            runs = check(loaded, wanted, target, json)
        else:
            runs = gather(loaded, wanted, n, seed, scope, target, machine, json)
    rows = session.summary(runs)
    if json:
        print_json({"file": str(target), "runs": [asdict(row) for row in rows]})
        return
    table = Table("run", "n", "accuracy", "insight tokens", "own tokens", "truncated", box=None)
    for row in rows:
        table.add_row(
            row.run, str(row.n), f"{row.accuracy:.1%}", f"{row.insight_tokens:.0f}", f"{row.output_tokens:.0f}",
            str(row.truncated),
        )  # fmt: skip
    print_table(table)
    console.print(f"in {target}")


def gather(
    profile: Profile, wanted: Dataset, n: int | None, seed: int, scope: Scope, target: Path, machine: Machine, quiet: bool
) -> list[Run]:  # fmt: skip
    """Collect with a progress bar. Raises StoreError."""
    from lab.training import session

    pull_missing(profile.name, machine.engine, quiet=quiet)
    with _progress(f"{wanted.name} with {profile.name}", quiet) as report:
        return asyncio.run(session.collect(profile, wanted, n, seed, scope, target, models_folder(), machine, report))


def check(profile: Profile, wanted: Dataset, target: Path, quiet: bool) -> list[Run]:
    """Check the programs of a file, with a progress bar. Raises StoreError."""
    from lab.training import session

    with _progress(f"checks of {wanted.name}", quiet) as report:
        return asyncio.run(session.check_file(profile, wanted, target, models_folder(), cores(), report))


@contextmanager
def _progress(title: str, quiet: bool) -> Iterator[Callable[[int, int, int], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[speed]}"))
    bar = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, disable=quiet)
    with bar:
        task = bar.add_task(title, total=None, speed="")

        def report(done: int, total: int, tokens: int) -> None:
            elapsed = bar.tasks[0].elapsed or 0.0
            speed = f"{tokens / elapsed:,.0f} tokens/s" if tokens and elapsed else ""
            bar.update(task, completed=done, total=total, speed=speed)

        yield report


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine_for(profile: Profile, engine: str, threads: int = 0, width: int = 64, device: str = "auto") -> Machine:
    """Raises BadParameter for an engine that does not score prompts."""
    from lab.training.session import ENGINES, Machine

    if engine not in ENGINES:
        raise typer.BadParameter(f"{engine!r} is none of {', '.join(ENGINES)}", param_hint="--engine")
    return Machine(threads or model_threads(profile, engine), width, device, cores(), engine)


def model_threads(profile: Profile, engine: str) -> int:
    """Processor threads of each of two models that run at once: what both were compiled for, else half of the cores."""
    compiled = set(compiled_for(profile.llm.name)) & set(compiled_for(profile.slm.name))
    usable = [threads for threads in compiled if engine == "transformers" and threads <= cores()]
    return max(usable, default=max(1, cores() // 2))


def default_file(profile: Profile, wanted: Dataset) -> Path:
    return Path("collected") / profile.name / f"{wanted.name.partition(':')[0]}.parquet"
