"""`tandem eval --through-batch`: the questions are asked of a running system, as one batch."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.table import Table

from tandem.cli import batch_start
from tandem.cli.batch_progress import follow, is_over, summary
from tandem.cli.batch_start import Terms
from tandem.cli.output import console, console_note
from tandem.cli.running import noticed
from tandem.cli.tables import print_table
from tandem.client.batches import Batches
from tandem.client.clients import Client
from tandem.client.results import to_dict
from tandem.errors import UserError
from tandem.v1 import batch_pb2

if TYPE_CHECKING:
    from lab.training.datasets import Dataset
    from lab.training.served import Served


def served_answers(
    client: Client, dataset: Dataset, profile: str, terms: Terms, *, again: bool, quiet: bool
) -> tuple[batch_pb2.Batch, list[dict[str, Any]]]:
    """The batch of these questions at its end, and its output. The same questions on the same terms join the batch
    there is.

    Ctrl-C leaves it running and ends the command. Raises RequestError.
    """
    from lab.training.served import lines_of

    with tempfile.TemporaryDirectory(prefix="tandem-eval-") as folder:
        file = Path(folder) / f"{dataset.name.partition(':')[0]}.jsonl"
        file.write_text("".join(json.dumps(line) + "\n" for line in lines_of(dataset.items, profile)))
        name = batch_start.batch_id(file, terms, again=again)
        batch = batch_start.started(client.batches, file, name, terms)
    with noticed() as interrupted:
        batch = follow(client.batches, batch, interrupted, quiet)
    if not is_over(batch):
        console_note(
            f"batch {batch.batch_id} goes on: the same command comes back to it, `tandem batch cancel "
            f"{batch.batch_id}` ends it"
        )
        raise typer.Exit(1)
    return batch, _output(client.batches, batch)


def num_stages(client: Client, profile: str) -> int:
    """Raises UserError where the system does not serve the profile, and RequestError."""
    served = {each.name: len(each.stages) for each in client.profiles().profiles}
    if profile not in served:
        raise UserError(f"{client.address} does not serve the profile {profile}; it serves {', '.join(sorted(served))}")
    return served[profile]


def show_served(served: Served, batch: batch_pb2.Batch) -> None:
    figures, right = served.figures, served.accuracy
    units = list(served.relative)
    rows = Table("method", "accuracy", "95 %", *units, "LLM tok", "SLM tok", box=None)
    rows.add_row(
        "tandem",
        f"{right.mean:.1%}",
        f"{right.low:.1%} to {right.high:.1%}",
        *(f"{served.relative[unit].mean:.0%}" for unit in units),
        f"{figures.llm_tokens:.0f}",
        f"{figures.slm_tokens:.0f}",
    )
    console.print(f"{served.dataset}: {figures.n} questions; costs relative to the estimate for the LLM alone")
    print_table(rows, optional=("SLM tok", "LLM tok", "95 %"))
    console.print(summary(batch))


def batch_facts(batch: batch_pb2.Batch) -> dict[str, Any]:
    """The batch as JSON, without what is empty for every evaluation."""
    found: dict[str, Any] = to_dict(batch)
    return {name: found[name] for name in ("batch_id", "state", "counts", "usd", "max_cost_usd", "concurrency")}


def _output(batches: Batches, batch: batch_pb2.Batch) -> list[dict[str, Any]]:
    if not batch.output_file_id:
        raise UserError(f"batch {summary(batch)}: it has no answers")
    content = b"".join(batches.read(batch.output_file_id))
    return [json.loads(line) for line in content.splitlines()]
