"""tandem models"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from tandem.cli.output import JsonFlag, console, print_json
from tandem.cli.parts import new_app
from tandem.cli.tables import print_table
from tandem.local.catalogue import CatalogueEntry, catalogue, models_of, wait_until_ready
from tandem.local.models import pull, pull_tokenizer
from tandem.paths import DEFAULT_PROFILE, models_folder

app = new_app(no_args_is_help=True)


Profiles = Annotated[
    list[str] | None, typer.Option("--profile", help="Of this profile; repeatable. Default: the shipped pair.")
]
Only = Annotated[
    Literal["both", "llm", "slm", "second_slm", "third_slm"],
    typer.Option(help="Only the profiles' model of this role."),
]
Engine = Annotated[
    str,
    typer.Option(
        envvar="TANDEM_ENGINE",
        help="For this engine: `transformers` and `vllm` need a GGUF file converted, which takes 3 times the disk.",
    ),
]
_LINE_SECONDS = 10.0


@app.command("pull")
def pull_models(
    models: Annotated[
        list[str] | None, typer.Argument(help="Names of the catalogue; default: the profile's two models.")
    ] = None,
    profile: Profiles = None,
    only: Only = "both",
    tokenizer_only: Annotated[
        bool, typer.Option(help="Only the tokenizers, a few megabytes: all that a gateway needs.")
    ] = False,
    engine: Engine = "auto",
    json: JsonFlag = False,
) -> None:
    """Download, verify and, where the engine needs it, convert models. An interrupted download is resumed.

    A profile's folder may hold a models.toml with models that the catalogue lacks.
    """
    names = models or _models_of(profile, only)
    if tokenizer_only:
        _pull_each(names, pull_tokenizer, quiet=json)
    else:
        _pull_all(names, engine, quiet=json)
    if json:
        print_json({name: str(catalogue()[name].folder) for name in names})
    else:
        console.print(f"{'tokenizers' if tokenizer_only else 'models'} are in {models_folder()}")


@app.command("wait")
def wait_for_models(
    profile: Profiles = None,
    only: Only = "both",
    engine: Engine = "auto",
    timeout: Annotated[float, typer.Option(help="Seconds to wait at most.", min=0)] = 3600,
    json: JsonFlag = False,
) -> None:
    """Wait until another command has downloaded a profile's models into the same folder."""
    reported: list[str] = []

    def report(missing: list[str]) -> None:
        nonlocal reported
        if missing != reported and not json:
            console.print(f"waiting for {' and '.join(missing)} in {models_folder()}")
            reported = missing

    names = _models_of(profile, only)
    wait_until_ready(names, engine, timeout, report)
    if json:
        print_json({name: str(catalogue()[name].folder) for name in names})
    else:
        console.print(f"models are in {models_folder()}")


@app.command("list")
def list_models(json: JsonFlag = False) -> None:
    """List the catalogue, and which of its models are on this machine."""
    entries = catalogue().values()
    if json:
        print_json([_row(entry) for entry in entries])
        return
    table = Table("model", "here", "licence", "from", box=None)
    for entry in entries:
        table.add_row(entry.name, "yes" if entry.is_pulled else "no", entry.license, entry.base)
    print_table(table, optional=("from", "licence"))


def pull_missing(profile: str, engine: str, quiet: bool) -> None:
    """Download the models of `profile` that `engine` lacks. A model outside the catalogue may have been put there by
    hand.
    """
    entries, names = catalogue(), models_of(profile)
    missing = [
        n for n in names if not (entries[n].is_ready(engine) if n in entries else _is_there(models_folder() / n))
    ]
    _pull_all(missing, engine, quiet)


def _is_there(folder: Path) -> bool:
    return (folder / "config.json").is_file() or any(folder.glob("*.gguf"))


def _row(entry: CatalogueEntry) -> dict[str, object]:
    folder = str(entry.folder) if entry.is_pulled else None
    return {"name": entry.name, "folder": folder, "license": entry.license, "base": entry.base}


def _models_of(profiles: list[str] | None, only: str) -> list[str]:
    """Return names of the models, each once."""
    pairs = [models_of(profile, only) for profile in profiles or [DEFAULT_PROFILE]]
    return list(dict.fromkeys(name for pair in pairs for name in pair))


def _pull_all(names: list[str], engine: str, quiet: bool) -> None:
    _pull_each(names, lambda name, report: pull(name, report, engine), quiet)


def _pull_each(names: list[str], get: Callable[[str, Report], object], quiet: bool) -> None:
    with reporting(quiet=quiet) as report_of:
        for name in names:
            report = report_of(name)
            get(name, report)
            report("ready", 1, 1)


Report = Callable[[str, int, int], None]
"""(step, done, total), as tandem.local.hub."""


@contextmanager
def reporting(*, quiet: bool) -> Iterator[Callable[[str], Report]]:
    """A function from a model's name to its report; a report of the step "ready" is the last one."""
    if quiet:
        yield lambda name: lambda *_: None
    elif not console.is_terminal:
        yield _lines
    else:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[amount]}"))
        with Progress(*columns, TimeElapsedColumn(), console=console) as display:
            yield lambda name: _bar(display, name)


def _bar(display: Progress, name: str) -> Report:
    task = display.add_task(name, total=None, amount="")

    def report(step: str, done: int, total: int) -> None:
        amount = _amount(done, total)
        display.update(task, description=f"{name}: {step}", completed=done, total=total, amount=amount)

    return report


def _lines(name: str) -> Report:
    """Return a line for each step, and one every ten seconds within it."""
    last_step, last_time = "", 0.0

    def report(step: str, done: int, total: int) -> None:
        nonlocal last_step, last_time
        now = time.monotonic()
        if step == last_step and now - last_time < _LINE_SECONDS and done < total:
            return
        if step == last_step and done == total and total <= 1:
            return
        last_step, last_time = step, now
        console.print(f"{name}: {step} {_amount(done, total)}".rstrip())

    return report


def _amount(done: int, total: int) -> str:
    return f"{done / 1e6:,.0f} / {total / 1e6:,.0f} MB" if total > 1_000_000 else ""
