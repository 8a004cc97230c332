"""tandem models"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from tandem.cli.output import JsonFlag, console, print_json, print_table
from tandem.cli.parts import new_app
from tandem.local.catalogue import CatalogueEntry, ModelError, catalogue, models_of
from tandem.local.layout import engine_threads
from tandem.local.models import compile_ahead, compiled_for, pull
from tandem.method.errors import TandemError
from tandem.method.profile import load_profile
from tandem.paths import DEFAULT_PROFILE, models_folder, profile_folders

app = new_app(no_args_is_help=True)


@app.command("pull")
def pull_models(
    models: Annotated[list[str] | None, typer.Argument(help="Names of the catalogue; default: the profile's two models.")] = None,
    profile: Annotated[str, typer.Option(help="Download the two models of this profile.")] = DEFAULT_PROFILE,
    engine: Annotated[str, typer.Option(envvar="TANDEM_ENGINE", help="For this engine: all but `llamacpp` need a GGUF file converted, which takes 3 times the disk.")] = "transformers",
    json: JsonFlag = False,
) -> None:  # fmt: skip
    """Download, verify and, where the engine needs it, convert models. An interrupted download is resumed."""
    names = models or models_of(profile)
    _pull_all(names, engine, quiet=json)
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
    table = Table("model", "here", "compiled", "licence", "from", box=None)
    for entry in entries:
        threads = ", ".join(f"{n} threads" for n in compiled_for(entry.name))
        table.add_row(entry.name, "yes" if entry.is_pulled else "no", threads or "no", entry.license, entry.base)
    print_table(table, optional=("from", "licence"))


@app.command("compile")
def compile_models(
    profile: Annotated[str, typer.Option(help="Compile the two models of this profile.")] = DEFAULT_PROFILE,
    threads: Annotated[int, typer.Option(help="Processor threads of each engine that will run it; 0: as many as `tandem up` gives it.", min=0)] = 0,
    json: JsonFlag = False,
) -> None:  # fmt: skip
    """Compile models for this processor: up to 2.5 times as many tokens per second. Needs minutes and a C++ compiler."""
    try:
        pair = load_profile(profile, tuple(profile_folders()))
    except TandemError as error:
        raise ModelError(str(error)) from error
    folders: dict[str, str] = {}
    with Progress(
        SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console, disable=json
    ) as display:
        for model in (pair.slm, pair.llm):
            task = display.add_task(f"{model.name}: compiling", total=None)
            folders[model.name] = str(compile_ahead(model.name, model.dtype, threads or engine_threads()))
            display.update(task, description=f"{model.name}: compiled", completed=1, total=1)
    if json:
        print_json(folders)
    else:
        console.print("engines that start from now on use the compiled models")


def pull_missing(profile: str, engine: str, quiet: bool) -> None:
    """Download the models of `profile` that `engine` lacks. A model outside the catalogue may have been put there by hand."""
    entries, names = catalogue(), models_of(profile)
    missing = [
        n for n in names if not (entries[n].is_ready(engine) if n in entries else _is_there(models_folder() / n))
    ]
    _pull_all(missing, engine, quiet)


def _is_there(folder: Path) -> bool:
    return (folder / "config.json").is_file() or any(folder.glob("*.gguf"))


def _row(entry: CatalogueEntry) -> dict[str, object]:
    folder = str(entry.folder) if entry.is_pulled else None
    threads = compiled_for(entry.name)
    return {
        "name": entry.name, "folder": folder, "compiled_for_threads": threads, "license": entry.license, "base": entry.base,
    }  # fmt: skip


def _pull_all(names: list[str], engine: str, quiet: bool) -> None:
    if quiet:
        for name in names:
            pull(name, lambda *_: None, engine)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[amount]}"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as display:
        for name in names:
            task = display.add_task(name, total=None, amount="")

            def report(step: str, done: int, total: int, task: object = task, name: str = name) -> None:
                amount = f"{done / 1e6:,.0f} / {total / 1e6:,.0f} MB" if total > 1_000_000 else ""
                display.update(task, description=f"{name}: {step}", completed=done, total=total, amount=amount)  # type: ignore[arg-type]

            pull(name, report, engine)
            display.update(task, description=f"{name}: ready", completed=1, total=1, amount="")
