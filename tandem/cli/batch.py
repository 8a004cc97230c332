"""tandem batch"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table
from typer.core import TyperGroup

from tandem.cli import batch_start
from tandem.cli.batch_progress import follow as follow_batch
from tandem.cli.batch_progress import is_over, summary
from tandem.cli.batch_start import Terms
from tandem.cli.output import JsonFlag, console, console_note, dollars, print_json
from tandem.cli.parts import new_app
from tandem.cli.running import noticed
from tandem.cli.session import stack_for
from tandem.cli.tables import print_table
from tandem.client.batches import Batches
from tandem.client.clients import Client
from tandem.client.results import to_dict
from tandem.errors import UserError
from tandem.v1 import batch_pb2

BatchId = Annotated[str, typer.Argument(metavar="BATCH", help="The batch's id.")]
Out = Annotated[Path, typer.Option(help="File that the answers are written to, one line each.", dir_okay=False)]


class _RunByDefault(TyperGroup):
    """`tandem batch FILE` is `tandem batch run FILE`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        if args and args[0] not in self.commands and not ctx.resilient_parsing:
            args = ["run", *args]
        return super().resolve_command(ctx, args)


app = new_app(cls=_RunByDefault, no_args_is_help=True)


@app.command()
def run(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help='Questions, one JSON object a line: {"id", "question"} or OpenAI\'s batch format.',
            exists=True,
            dir_okay=False,
        ),
    ],
    out: Out,
    max_cost: Annotated[
        float | None, typer.Option(help="Upper bound of what all requests cost together, in USD.")
    ] = None,
    concurrency: Annotated[int, typer.Option(help="Requests that run at once.", min=1, max=64)] = 8,
    window: Annotated[float, typer.Option(help="Hours after which nothing more is asked; 0: no limit.", min=0)] = 0,
    batch_id: Annotated[
        str, typer.Option(help="Idempotency key; by default one that follows from the file and these options.")
    ] = "",
    again: Annotated[bool, typer.Option("--again", help="Ask anew what the same command has asked before.")] = False,
    detach: Annotated[
        bool, typer.Option(help="Print the batch's id and exit; `tandem batch follow` gets the answers.")
    ] = False,
    up: Annotated[
        bool, typer.Option("--up", help="Start the local stack if none is up, and stop it afterwards.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Ask all questions of a file: tandem batch FILE --out OUT. Ctrl-C leaves the batch running.

    The same command again goes on where the batch is, and pays for nothing twice.
    """
    terms = Terms(max_cost, concurrency, round(window * 3600))
    name = batch_id or batch_start.batch_id(file, terms, again=again)
    with stack_for(up, "", quiet=json), Client() as client:
        batch = batch_start.started(client.batches, file, name, terms)
        if detach:
            print_json(to_dict(batch)) if json else console.print(name)
        else:
            _follow(client.batches, batch, out, json)


@app.command()
def follow(batch: BatchId, out: Out, json: JsonFlag = False) -> None:
    """Show a batch's progress to its end, and get its answers. Ctrl-C leaves it running."""
    with Client() as client:
        _follow(client.batches, client.batches.get(batch), out, json)


@app.command()
def status(batch: BatchId, json: JsonFlag = False) -> None:
    """Show a batch's state and cost so far."""
    with Client() as client:
        found = client.batches.get(batch)
    print_json(to_dict(found)) if json else console.print(summary(found))


@app.command()
def cancel(batch: BatchId, json: JsonFlag = False) -> None:
    """Cancel a batch and the requests that run; what is there is kept, and written."""
    with Client() as client:
        found = client.batches.cancel(batch)
    print_json(to_dict(found)) if json else console.print(summary(found))


@app.command("list")
def list_batches(
    limit: Annotated[int, typer.Option(min=1, max=100, help="Maximum number of batches.")] = 20, json: JsonFlag = False
) -> None:
    """List batches, newest first."""
    with Client() as client:
        found = [to_dict(batch) for batch in client.batches.list(limit).batches]
    if json:
        print_json(found)
        return
    table = Table(Column("batch", no_wrap=True), "created", "state", "profile", "answered", "USD", box=None)
    for row in found:
        created = datetime.fromtimestamp(row["created_at_unix_ms"] / 1000).strftime("%Y-%m-%d %H:%M:%S")
        counts = row["counts"]
        table.add_row(
            row["batch_id"], created, row["state"], row["profile"], f"{counts['answered']}/{counts['total']}",
            dollars(row["usd"], 6).removeprefix("$"),
        )  # fmt: skip
    print_table(table, optional=("profile", "created"))


def _follow(batches: Batches, batch: batch_pb2.Batch, out: Path, json: bool) -> None:
    """Follow the batch to its end, or to Ctrl-C."""
    with noticed() as interrupted:
        batch = follow_batch(batches, batch, interrupted, quiet=json)
    if not is_over(batch):
        console_note(
            f"batch {batch.batch_id} goes on: `tandem batch follow {batch.batch_id} --out {out}` comes back to it, "
            f"`tandem batch cancel {batch.batch_id}` ends it"
        )
        raise typer.Exit(1)
    _download(batches, batch, out)
    print_json(to_dict(batch)) if json else console.print(f"{summary(batch)}\nin {out}")
    if batch.counts.answered < batch.counts.total:
        raise typer.Exit(1)


def _download(batches: Batches, batch: batch_pb2.Batch, out: Path) -> None:
    """Answers, then requests without one; whole or not at all. Raises UserError."""
    partial = out.with_name(f"{out.name}.partial")
    try:
        with partial.open("wb") as file:
            for file_id in filter(None, (batch.output_file_id, batch.error_file_id)):
                file.writelines(batches.read(file_id))
        partial.replace(out)
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error.strerror}); the batch keeps its answers") from error
