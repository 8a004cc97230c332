"""tandem eval"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from lab.verbs.asking import agree_to, described
from lab.verbs.gathering import EngineOption, cores, default_file, gather, left_out_lines, machine_for
from lab.verbs.offline import ProfileName, any_study, explained, find_profile, known_unit, working
from lab.verbs.served_eval import batch_facts, num_stages, served_answers, show_served
from tandem.cli.batch_progress import summary
from tandem.cli.batch_start import Terms
from tandem.cli.output import console, console_error, console_note
from tandem.cli.tables import print_table
from tandem.client.clients import Client
from tandem.paths import DEFAULT_PROFILE

if TYPE_CHECKING:
    from lab.training.datasets import Dataset, Item
    from lab.training.evaluate import Evaluation


# Options that only one of the two ways has; each is refused by name in the other.
_OF_ENGINES = ("cost", "methods", "collected", "ask", "engine")
_OF_BATCHES = ("max_cost", "concurrency", "again")


def evaluate(
    context: typer.Context,
    data: Annotated[
        str,
        typer.Option(
            help="A data set by name, such as gsm8k, mbpp_test or humaneval, or a .jsonl file of questions and answers."
        ),
    ],
    profile: ProfileName = DEFAULT_PROFILE,
    cost: Annotated[
        str, typer.Option(help="What cost is counted in: paper or full (TFLOPs), usd, or seconds of the devices.")
    ] = "full",
    methods: Annotated[str, typer.Option(help="Comma-separated: tandem,llm,slm,fixed:N,...; default: all.")] = "",
    n: Annotated[int | None, typer.Option(help="Number of questions; default: all.", min=1)] = None,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes", "-y", help="Ask all: more than 100 questions are asked only with this, --n or --max-cost."
        ),
    ] = False,
    collected: Annotated[
        Path | None, typer.Option(help="File of the models' answers; an existing one is continued.")
    ] = None,
    ask: Annotated[
        bool,
        typer.Option(
            help="Ask the models the questions that are not collected yet; --no-ask evaluates only those that are."
        ),
    ] = True,
    engine: EngineOption = "auto",
    study: Annotated[
        Path | None,
        typer.Option(help="Folder of the study; default: studies/PROFILE, or the one shipped with the profile."),
    ] = None,
    report: Annotated[bool, typer.Option("--report", help="Print the whole report in Markdown.")] = False,
    through_batch: Annotated[
        bool,
        typer.Option(
            "--through-batch",
            help="Ask a running system (TANDEM_ADDRESS) the questions, as one batch, and evaluate its answers alone.",
        ),
    ] = False,
    max_cost: Annotated[
        float | None,
        typer.Option(help="With --through-batch: upper bound of what all questions cost together, in USD."),
    ] = None,
    concurrency: Annotated[
        int, typer.Option(help="With --through-batch: questions that are asked at once.", min=1, max=64)
    ] = 8,
    again: Annotated[
        bool,
        typer.Option(
            "--again",
            help="With --through-batch: ask anew what the same command has asked before.",
        ),
    ] = False,
    json_out: Annotated[
        Path | None, typer.Option("--json", help="Write the figures as JSON to this file; - prints them.")
    ] = None,
) -> None:
    """Evaluate the stop rule on questions that it was not trained on, against simple alternatives."""
    quiet = json_out == Path("-")
    if report and (quiet or methods):
        raise typer.BadParameter("it goes with neither --json - nor --methods", param_hint="--report")
    _refuse_others(context, through_batch)
    if through_batch:
        terms, is_wanted = Terms(max_cost, concurrency), yes or n is not None or max_cost is not None
        _evaluate_served(data, profile, n, study, terms, again, json_out, report=report, is_wanted=is_wanted)
        return
    with explained():
        from lab.training import datasets
        from lab.training.collected import load_collected
        from lab.training.evaluate import UnknownMethod
        from lab.training.evaluate import evaluate as run
        from lab.training.figures import as_contract
        from lab.training.report import as_text
        from lab.training.session import Scope
        from lab.training.study import Study

        loaded, judged = find_profile(profile), Study(study or any_study(profile))
        wanted = datasets.load(data)
        file = collected or default_file(loaded, wanted)
        if ask:
            missing = _missing(wanted.sample(n, 0), file)
            agree_to(described(loaded, missing), len(missing), is_wanted=yes or n is not None)
            machine = machine_for(loaded, file, engine, quiet=quiet)
            for line in left_out_lines(gather(loaded, wanted, n, 0, Scope(), file, machine, quiet).left_out):
                console_note(line)
        found = load_collected([file], loaded, only_question=True)
        if "json" not in loaded.stop.tasks:
            found = found.unscored(f"{wanted.name}/{item.id}" for item in wanted.items if item.json_schema)
        if same := set(found.table.questions) & {*judged.training().questions, *judged.training().more_questions}:
            console_error(f"{file}: {len(same)} of its questions are in the training set")
            sys.exit(1)
        try:
            with working(quiet) as report_step:
                report_step(f"{found.datasets}: {len(found.table.questions)} questions")
                names = [name.strip() for name in methods.split(",") if name.strip()] or None
                unit = known_unit(cost, found.plan)
                passes = found.origins[0].computed_by
                evaluation = run(found.datasets, found.table, found.plan, judged, names, unit, passes)
        except UnknownMethod as error:
            raise typer.BadParameter(str(error), param_hint="--methods") from error
        figures = as_contract(evaluation, profile, data, wanted.sha256)
    _write(figures, json_out)
    if report:
        typer.echo(as_text(evaluation, judged))
    elif not quiet:
        _show(evaluation)


def _evaluate_served(
    data: str, profile: str, n: int | None, study: Path | None, terms: Terms, again: bool, json_out: Path | None, *,
    report: bool, is_wanted: bool,
) -> None:  # fmt: skip
    """Exits with code 1 where a question was not answered."""
    quiet = json_out == Path("-")
    with explained():
        from lab.training import datasets
        from lab.training.served import as_contract, as_text, evaluate_served

        wanted = datasets.load(data).sample(n, 0)
        _refuse_trained(wanted, study or any_study(profile))
        most = "" if terms.max_cost is None else f", for ${terms.max_cost:g} at most"
        agree_to(f"asks {profile} {len(wanted.items):,} questions{most}", len(wanted.items), is_wanted=is_wanted)
        with Client() as client:
            stages = num_stages(client, profile)
            batch, lines = served_answers(client, wanted, profile, terms, again=again, quiet=quiet)
        if not batch.counts.answered:
            console_error(f"no question was answered: {summary(batch)}")
            sys.exit(1)
        served = evaluate_served(wanted, lines, stages, cores())
    facts = batch_facts(batch)
    _write(as_contract(served, profile, data, wanted.sha256, facts), json_out)
    if report:
        typer.echo(as_text(served, profile, facts))
    elif not quiet:
        show_served(served, batch)
    if served.unanswered:
        sys.exit(1)


def _missing(wanted: Dataset, file: Path) -> list[Item]:
    """Questions that `file` does not have yet. Raises StoreError."""
    from lab.training.store import questions_in

    known = questions_in(file) if file.exists() else set()
    return [item for item in wanted.items if item.id not in known]


def _refuse_others(context: typer.Context, through_batch: bool) -> None:
    """Raises BadParameter for an option of the other way: none is ignored."""
    names, how = (_OF_ENGINES, "does not go with") if through_batch else (_OF_BATCHES, "needs")
    _refuse(context, names, f"{how} --through-batch")


def _refuse(context: typer.Context, names: tuple[str, ...], why: str) -> None:
    for name in names:
        source = context.get_parameter_source(name)
        if source and source.name == "COMMANDLINE":
            raise typer.BadParameter(f"it {why}", param_hint=f"--{name.replace('_', '-')}")


def _refuse_trained(wanted: Dataset, folder: Path) -> None:
    """End the command where the profile's rule was trained on one of the questions; without a study none was."""
    from lab.training.names import TRAINING

    if not (folder / TRAINING).is_file():
        return
    from lab.training.study import Study

    training = Study(folder).training()
    asked = {f"{wanted.name}/{item.id}" for item in wanted.items}
    if same := asked & {*training.questions, *training.more_questions}:
        console_error(f"{wanted.path}: {len(same)} of its questions are in the training set")
        sys.exit(1)


def _write(figures: Mapping[str, object], json_out: Path | None) -> None:
    if json_out:
        text = json.dumps(figures, indent=2)
        typer.echo(text) if json_out == Path("-") else json_out.write_text(text + "\n")


def _show(evaluation: Evaluation) -> None:
    units = list(evaluation.rows[0].relative)
    rows = Table("method", "accuracy", "95 %", "vs LLM", "p", *units, "s", "LLM tok", "SLM tok", box=None)
    for row in evaluation.rows:
        right = row.accuracy
        rows.add_row(
            row.name,
            f"{right.mean:.1%}",
            f"{right.low:.1%} to {right.high:.1%}",
            f"{100 * row.difference.mean:+.1f}",
            f"{row.p_llm:.3f}",
            *(f"{row.relative[unit].mean:.0%}" for unit in units),
            "" if row.latency is None else f"{row.latency:.1f}",
            f"{row.llm_tokens:.0f}",
            f"{row.slm_tokens:.0f}",
            style="bold" if row.name == "tandem" else "",
        )
    console.print(f"{evaluation.dataset}: {evaluation.n} questions")
    print_table(rows, optional=("s", "p", *(unit for unit in units if unit != "full"), "SLM tok", "LLM tok", "95 %"))
    if evaluation.gap_closed is not None:
        gap = evaluation.gap_closed
        console.print(f"oracle gap closed over {evaluation.best_fixed}: {gap.mean:.0%} [{gap.low:.0%}, {gap.high:.0%}]")
