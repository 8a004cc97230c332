"""Asking both models, for `tandem collect` and `tandem eval`: by which engine, how many questions at once, with
progress, until a signal.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from tandem.cli.models import pull_missing
from tandem.cli.output import console, console_note
from tandem.local.layout import engine_name
from tandem.method.profile.profile import Profile
from tandem.paths import models_folder

if TYPE_CHECKING:
    from lab.training.collect import Run
    from lab.training.datasets import Dataset
    from lab.training.machine import Machine
    from lab.training.session import Gathered, Progress, Scope

EngineOption = Annotated[
    str,
    typer.Option(
        help="What runs both models: transformers, whose hidden states two kinds of scorer read, or llamacpp. One "
        "file has the answers of one; default: that of an existing file, else the engine that serves here."
    ),
]
WidthOption = Annotated[
    int,
    typer.Option(
        help="Number of questions that run at the same time; 0: what suits the engine, 4 on llama.cpp and at an API, "
        "48 on transformers.",
        min=0,
    ),
]
_LINE_SECONDS = 30.0
T = TypeVar("T")


def gather(
    profile: Profile,
    wanted: Dataset,
    n: int | None,
    seed: int,
    scope: Scope,
    target: Path,
    machine: Machine,
    quiet: bool,
) -> Gathered:
    """Collect with progress. Raises StoreError; SIGINT and SIGTERM end the command, with what is done in `target`."""
    from lab.training import session

    pull_missing(profile.name, machine.engine, quiet=quiet)
    with _progress(f"{wanted.name} with {profile.name} on {machine.engine}", quiet) as report:
        work = session.collect(profile, wanted, n, seed, scope, target, models_folder(), machine, report)
        return asyncio.run(_until_signal(work, target))


def gather_requests(profile: Profile, file: Path, target: Path, machine: Machine, quiet: bool) -> dict[str, str]:
    """Ask all models the requests of a file, with progress. Returns those that are left out, by id, with the reason."""
    from lab.disputes.collect import ask_all, read_bodies

    with _progress(f"{file.name} with {profile.name}", quiet) as report:
        work = ask_all(
            read_bodies(file, profile), profile, target, models_folder(), machine, lambda done, n: report(done, n, 0)
        )
        return asyncio.run(_until_signal(work, target))


def check(profile: Profile, wanted: Dataset, target: Path, quiet: bool) -> list[Run]:
    """Check the programs of a file, with progress. Raises StoreError."""
    from lab.training import session

    with _progress(f"checks of {wanted.name}", quiet) as report:
        return asyncio.run(session.check_file(profile, wanted, target, models_folder(), cores(), report))


def machine_for(
    profile: Profile, target: Path, engine: str = "auto", threads: int = 0, width: int = 0, device: str = "auto",
    *, quiet: bool = False,
) -> Machine:  # fmt: skip
    """How `target` is collected; "auto" and 0 stand for a choice. Raises BadParameter for an engine that does not score
    prompts.
    """
    from lab.training.machine import API_WIDTH, WIDTHS, Machine

    if engine not in ("auto", *WIDTHS):
        raise typer.BadParameter(f"{engine!r} is none of auto, {', '.join(WIDTHS)}", param_hint="--engine")
    if engine == "auto":
        engine = _engine_of(target, quiet) or _serving_engine(profile, device, quiet)
    return Machine(
        threads or max(1, cores() // 2),
        width or (API_WIDTH if profile.slm.api else WIDTHS[engine]),
        device,
        cores(),
        engine,
    )


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_file(profile: Profile, wanted: Dataset) -> Path:
    return Path("collected") / profile.name / f"{wanted.name.partition(':')[0]}.parquet"


def _engine_of(target: Path, quiet: bool) -> str:
    """Of an existing file; empty without one. Raises StoreError."""
    from lab.training.store import read_origin

    if not target.exists() or target.suffix == ".jsonl":
        return ""
    engine = read_origin(target).engine
    if not quiet:
        console_note(
            f"{target} has answers of {engine}, which goes on with it; --out or --collected names another file"
        )
    return engine


def _serving_engine(profile: Profile, device: str, quiet: bool) -> str:
    """What answers requests here, if it scores prompts; transformers where a GPU has vLLM."""
    from lab.training.machine import WIDTHS, serving_engine

    if engine_name() in WIDTHS:
        return engine_name()
    pull_missing(profile.name, "auto", quiet=quiet)  # the choice depends on the models' files
    return serving_engine(profile, models_folder(), device)


async def _until_signal(work: Coroutine[Any, Any, T], target: Path) -> T:
    """Exits with 128 and the signal's number, after `work` has written what is done."""
    task = asyncio.ensure_future(work)
    received: list[int] = []

    def end(number: int) -> None:
        received.append(number)
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end, number)
    try:
        return await task
    except asyncio.CancelledError:
        console_note(f"interrupted: what is done is in {target}, and the same command goes on there")
        sys.exit(128 + received[0])


@contextmanager
def _progress(title: str, quiet: bool) -> Iterator[Progress]:
    """A bar on a terminal, else a line each half minute."""
    if quiet:
        yield lambda done, total, tokens: None
        return
    if not console.is_terminal:
        yield Lines(title, console.print)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[speed]}"))
    with Bar(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task(title, total=None, speed="")

        def report(done: int, total: int, tokens: int) -> None:
            elapsed = bar.tasks[0].elapsed or 0.0
            speed = f"{tokens / elapsed:,.0f} tokens/s" if tokens and elapsed else ""
            bar.update(task, completed=done, total=total, speed=speed)

        yield report


def left_out_lines(left_out: dict[str, str]) -> list[str]:
    """How many requests were left out, by reason, with the first of each by its id."""
    reasons = Counter(left_out.values())
    first = {reason: request for request, reason in reversed(left_out.items())}
    return [
        f"{number} left out ({first[reason]}{', ...' if number > 1 else ''}): {reason}"
        for reason, number in reasons.most_common()
    ]


class Lines:
    """Progress for a log: the first report, the first question that is done, the last one, and one each half minute."""

    def __init__(self, title: str, write: Callable[[str], object], clock: Callable[[], float] = time.monotonic) -> None:
        self._title, self._write, self._clock = title, write, clock
        self._began, self._before, self._written = clock(), -1, (-1, 0.0)

    def __call__(self, done: int, total: int, tokens: int) -> None:
        """As lab.training.session.Progress; `done` counts what was there before the start."""
        now = self._clock()
        if self._before < 0:
            self._before = done
        if not tokens:  # the models are being loaded
            self._began = now
        last, at = self._written
        is_news = last < done and (last in (-1, self._before) or done == total)
        if is_news or now - at >= _LINE_SECONDS:
            self._write(self._line(done, total, tokens, now - self._began))
            self._written = (done, now)

    def _line(self, done: int, total: int, tokens: int, elapsed: float) -> str:
        facts = [f"{self._title}: {done} of {total}"]
        if tokens and elapsed:
            facts.append(f"{tokens / elapsed:,.0f} tokens/s")
        if self._before < done < total:
            facts.append(f"{_duration(elapsed * (total - done) / (done - self._before))} left")
        return ", ".join(facts)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return (
        f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min" if minutes else "under a minute"
    )
