"""tandem bench"""

from __future__ import annotations

import json as json_module
import subprocess
import sys
from enum import StrEnum
from typing import Annotated

import typer

from tandem.cli.output import JsonFlag, console, print_json
from tandem.paths import REPOSITORY


class Bench(StrEnum):
    ENGINE = "engine"
    RATES = "rates"
    STOP = "stop"
    ORCHESTRATION = "orchestration"
    SCALING = "scaling"
    LEDGER = "ledger"
    ALL = "all"


_EACH = [name for name in Bench if name is not Bench.ALL]


def bench(
    name: Annotated[Bench, typer.Argument(help="What to measure.")],
    write: Annotated[
        bool,
        typer.Option(help="rates: write the tokens a second of one sequence into the default profile, as [rates]."),
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Run a benchmark and write its figures, with facts about the machine, to lab/bench/results."""
    if write and name is not Bench.RATES:
        raise typer.BadParameter("only `rates` has something to write into a profile", param_hint="--write")
    results = REPOSITORY / "lab" / "bench" / "results"
    before = {path: path.stat().st_mtime_ns for path in results.glob("*.json")}
    for each in _EACH if name is Bench.ALL else [name]:
        if not json:
            console.print(f"{each}", style="bold")
        if code := _run(f"lab.bench.{each}", *(["--write"] if write else []), quiet=json):
            raise typer.Exit(code)
    if json:
        new = [path for path in sorted(results.glob("*.json")) if before.get(path) != path.stat().st_mtime_ns]
        print_json({path.stem: json_module.loads(path.read_text()) for path in new})


def _run(module: str, *arguments: str, quiet: bool) -> int:
    output = subprocess.DEVNULL if quiet else None
    return subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=REPOSITORY, stdout=output, check=False
    ).returncode
