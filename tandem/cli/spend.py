"""tandem spend"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer
from rich.table import Table

from tandem.cli.output import JsonFlag, print_json
from tandem.cli.tables import print_table
from tandem.client.clients import Client
from tandem.client.spending import GROUPS, first_day, spending

_DRY = ("agreed", "on another answer", "paid for asking")


def spend(
    by: Annotated[
        str, typer.Option(help=f"What sums are made by, separated by commas: {', '.join(GROUPS)}.")
    ] = "tenant,day",
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The first UTC day; default: the first of the month.")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="What requests would have cost with small models that agree, where those were asked beside the large "
            "one (`tandem up --shadow-small`).",
        ),
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Sum up what requests have cost, by the day that they began on: tandem spend --by tenant,day."""
    names = [name.strip() for name in by.split(",") if name.strip()]
    if not names or (unknown := [name for name in names if name not in GROUPS]):
        raise typer.BadParameter(f"{(unknown or [by])[0]!r} is none of {', '.join(GROUPS)}", param_hint="--by")
    with Client() as client:
        sums = spending(client, first_day(since), names, dry_run)
    shown = ("requests", "open", "usd", "saved", *(("agreed", "otherwise", "paid") if dry_run else ()))
    rows = [
        {**dict(zip(names, key, strict=True)), **{name: getattr(found, name) for name in shown}}
        for key, found in sums.items()
    ]
    if json:
        print_json(rows)
        return
    table = Table(*names, "requests", "without a bill", "USD", "saved", *(_DRY if dry_run else ()), box=None)
    for row in rows:
        table.add_row(
            *(str(row[name]) for name in names),
            str(row["requests"]),
            str(row["open"] or ""),
            f"{row['usd']:.8f}",
            f"{row['saved']:.8f}",
            *((str(row["agreed"]), str(row["otherwise"]), f"{row['paid']:.8f}") if dry_run else ()),
        )
    print_table(table, optional=("without a bill", "saved"))
