from __future__ import annotations

from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from tandem.cli.output import JsonFlag, console, print_json
from tandem.cli.parts import new_app
from tandem.local.layout import engine_threads
from tandem.local.models import CatalogueEntry, ModelError, catalogue, compile_ahead, compiled_for, models_of, pull
from tandem.method.errors import TandemError
from tandem.method.profile import load_profile
from tandem.paths import DEFAULT_PROFILE, models_folder, profile_folders

app = new_app(no_args_is_help=True)


@app.command("pull")
def pull_models(
    models: Annotated[list[str] | None, typer.Argument(help="Models of the catalogue; those of the profile if not given.")] = None,
    profile: Annotated[str, typer.Option(help="Get the two models of this profile.")] = DEFAULT_PROFILE,
    json: JsonFlag = False,
) -> None:  # fmt: skip
    """Download, check and convert models. A broken download goes on where it was."""
    names = models or models_of(profile)
    _pull_all(names, quiet=json)
    if json:
        print_json({name: str(catalogue()[name].folder) for name in names})
    else:
        console.print(f"models are in {models_folder()}")


@app.command("list")
def list_models(json: JsonFlag = False) -> None:
    """Show the catalogue and what of it is here."""
    entries = catalogue().values()
    if json:
        print_json([_row(entry) for entry in entries])
        return
    table = Table("model", "here", "compiled", "licence", "from", box=None)
    for entry in entries:
        threads = ", ".join(f"{n} threads" for n in compiled_for(entry.name))
        table.add_row(entry.name, "yes" if entry.is_pulled else "no", threads or "no", entry.license, entry.base)
    console.print(table)


@app.command("compile")
def compile_models(
    profile: Annotated[str, typer.Option(help="Compile the two models of this profile.")] = DEFAULT_PROFILE,
    threads: Annotated[int, typer.Option(help="Processor threads of each engine that will run it; those of `tandem up` if 0.", min=0)] = 0,
    json: JsonFlag = False,
) -> None:  # fmt: skip
    """Compile models for this processor: up to 2.5 times as many tokens a second. Takes minutes, once, and a C++ compiler."""
    try:
        pair = load_profile(profile, tuple(profile_folders()))
    except TandemError as error:
        raise ModelError(str(error)) from error
    made: dict[str, str] = {}
    with Progress(
        SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console, disable=json
    ) as display:
        for model in (pair.slm, pair.llm):
            task = display.add_task(f"{model.name}: compiling", total=None)
            made[model.name] = str(compile_ahead(model.name, model.dtype, threads or engine_threads()))
            display.update(task, description=f"{model.name}: compiled", completed=1, total=1)
    if json:
        print_json(made)
    else:
        console.print("engines that start from now on use it")


def pull_missing(profile: str, quiet: bool) -> None:
    """Get the models of `profile` that are not here. One that no catalogue knows may have been put there by hand."""
    entries = catalogue()
    missing = [n for n in models_of(profile) if not (models_folder() / n / "config.json").is_file()]
    missing += [n for n in models_of(profile) if n in entries and not entries[n].is_pulled and n not in missing]
    _pull_all(missing, quiet)


def _row(entry: CatalogueEntry) -> dict[str, object]:
    folder = str(entry.folder) if entry.is_pulled else None
    threads = compiled_for(entry.name)
    return {
        "name": entry.name, "folder": folder, "compiled_for_threads": threads, "license": entry.license, "base": entry.base,
    }  # fmt: skip


def _pull_all(names: list[str], quiet: bool) -> None:
    if quiet:
        for name in names:
            pull(name, lambda *_: None)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[amount]}"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as display:
        for name in names:
            task = display.add_task(name, total=None, amount="")

            def tell(step: str, done: int, total: int, task: object = task, name: str = name) -> None:
                amount = f"{done / 1e6:,.0f} / {total / 1e6:,.0f} MB" if total > 1_000_000 else ""
                display.update(task, description=f"{name}: {step}", completed=done, total=total, amount=amount)  # type: ignore[arg-type]

            pull(name, tell)
            display.update(task, description=f"{name}: ready", completed=1, total=1, amount="")
