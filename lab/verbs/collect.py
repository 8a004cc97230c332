"""tandem collect"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from lab.verbs.gathering import (
    EngineOption,
    WidthOption,
    check,
    default_file,
    gather,
    gather_requests,
    left_out_lines,
    machine_for,
)
from lab.verbs.offline import explained, find_profile
from tandem.cli.output import JsonFlag, console, print_json
from tandem.cli.tables import print_table
from tandem.paths import DEFAULT_PROFILE


def collect(
    data: Annotated[
        str,
        typer.Argument(
            help="A data set by name, such as math_train, mbpp_train or gsm8k, or a .jsonl file of your own: questions "
            "with their answers, or requests as your programs send them (bodies of OpenAI's chat API)."
        ),
    ],
    profile: Annotated[str, typer.Option(help="The pair of models with its prompts and stages.")] = DEFAULT_PROFILE,
    n: Annotated[int | None, typer.Option(help="Number of questions; default: all.", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Seed of the order in which questions are drawn.")] = 0,
    subject: Annotated[list[str] | None, typer.Option(help="Only questions of this subject; repeatable.")] = None,
    out: Annotated[Path | None, typer.Option(help="File to write; an existing one is continued.")] = None,
    extras: Annotated[
        bool, typer.Option(help="Also collect the concise and the forced answers that `eval` compares with.")
    ] = True,
    only_question: Annotated[
        bool,
        typer.Option(
            help="Collect no insight, only the models alone and the scoring pass of the question; for `train "
            "--also`, `calibrate --lose-at-most` of trials, and models behind APIs."
        ),
    ] = False,
    width: WidthOption = 0,
    threads: Annotated[
        int,
        typer.Option(
            help="Processor threads of each of the two models, which run at the same time; 0: half of the cores.", min=0
        ),
    ] = 0,
    engine: EngineOption = "auto",
    device: Annotated[str, typer.Option(help="Where the models run: auto, cpu or cuda.")] = "auto",
    checks_only: Annotated[
        bool,
        typer.Option(help="Ask no model: check the programs of an existing file, which one of an older version lacks."),
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Collect both models' answers to a data set, to train and evaluate a stop rule on. An interrupted run is resumed.
    What a model refuses is left out and named at the end; the same command asks for it again.

    Of requests the small models and the large one are asked each, for `tandem disputes` and `calibrate --lose-at-most`;
    no label is needed. Programs are checked as a request's would be. Where the profile has a prompt for it, failed ones
    are repaired once.
    """
    with explained():
        from lab.disputes.collect import are_bodies
        from lab.training import datasets, session

        loaded = find_profile(profile)
        if are_bodies(Path(data)):
            target = out or Path("collected") / loaded.name / Path(data).name
            machine = machine_for(loaded, target, engine, threads, width, device, quiet=json)
            _say_collected(target, gather_requests(loaded, Path(data), target, machine, json), json)
            return
        wanted = datasets.load(data)
        if subject:
            wanted = wanted.only(subject)
        target = out or default_file(loaded, wanted)
        scope = session.Scope(extras, only_question)
        if checks_only:
            found = session.Gathered(check(loaded, wanted, target, json), {})
        else:
            machine = machine_for(loaded, target, engine, threads, width, device, quiet=json)
            found = gather(loaded, wanted, n, seed, scope, target, machine, json)
    rows = session.summary(found.runs)
    if json:
        print_json({"file": str(target), "runs": [asdict(row) for row in rows], "left_out": found.left_out})
        return
    table = Table("run", "n", "accuracy", "insight tokens", "own tokens", "truncated", box=None)
    for row in rows:
        table.add_row(
            row.run, str(row.n), f"{row.accuracy:.1%}", f"{row.insight_tokens:.0f}", f"{row.output_tokens:.0f}",
            str(row.truncated),
        )  # fmt: skip
    print_table(table)
    for line in left_out_lines(found.left_out):
        console.print(line)
    console.print(f"in {target}")


def _say_collected(target: Path, left_out: dict[str, str], json: bool) -> None:
    if json:
        print_json({"file": str(target), "left_out": left_out})
        return
    for line in left_out_lines(left_out):
        console.print(line)
    console.print(f"in {target}. Next: `tandem calibrate {target} --lose-at-most 0.03`, `tandem disputes {target}`")
