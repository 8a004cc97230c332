"""tandem spend"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.table import Table

from tandem.cli.output import JsonFlag, console, print_json
from tandem.cli.tables import print_table
from tandem.client.clients import Client
from tandem.client.spending import GROUPS, Sum, first_day, spending

Row = tuple[tuple[str, ...], Sum]
_ORDERS: dict[str, Callable[[Row], Any]] = {
    "name": lambda row: row[0],
    "newest": lambda row: -row[1].last.timestamp() if row[1].last else 0.0,
    "usd": lambda row: -(row[1].usd + row[1].shadows),
}


def spend(
    by: Annotated[
        str, typer.Option(help=f"What sums are made by, separated by commas: {', '.join(GROUPS)}.")
    ] = "tenant,day",
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The first UTC day; default: the first of the month.")
    ] = None,
    order: Annotated[
        str,
        typer.Option(help="name, newest, or usd, the dearest first; default: name, and of sessions newest."),
    ] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="Rows at most; default: all.")] = None,
    json: JsonFlag = False,
) -> None:
    """Sum up what requests have cost, by the day that they began on: tandem spend --by tenant,day.

    `shadows` is what was paid beside them, which USD does not include.
    """
    names = [name.strip() for name in by.split(",") if name.strip()]
    if not names or (unknown := [name for name in names if name not in GROUPS]):
        raise typer.BadParameter(f"{(unknown or [by])[0]!r} is none of {', '.join(GROUPS)}", param_hint="--by")
    is_by_session = "session" in names
    order = order or ("newest" if is_by_session else "name")
    if order not in _ORDERS:
        raise typer.BadParameter(f"{order!r} is none of {', '.join(_ORDERS)}", param_hint="--order")
    with Client() as client:
        found = sorted(spending(client, first_day(since), names).items(), key=_ORDERS[order])
    rows = found[:limit]
    if json:
        print_json([_as_data(names, key, each) for key, each in rows])
        return
    last_column = ["last (UTC)"] if is_by_session else []
    table = Table(*names, *last_column, "requests", "without a bill", "USD", "saved", "shadows", box=None)
    for key, each in rows:
        last = [f"{each.last:%Y-%m-%d %H:%M}" if each.last else ""] if is_by_session else []
        amounts = (f"{usd:.8f}" for usd in (each.usd, each.saved, each.shadows))
        table.add_row(*key, *last, str(each.requests), str(each.open or ""), *amounts)
    print_table(table, optional=("without a bill", "saved"))
    if len(found) > len(rows):
        console.print(f"{len(found) - len(rows)} more rows: --limit")


def _as_data(names: Sequence[str], key: tuple[str, ...], found: Sum) -> dict[str, Any]:
    """`last_unix_ms`: when the newest request began; None where there is none."""
    shown = ("requests", "open", "usd", "saved", "shadows")
    last = {"last_unix_ms": found.last.timestamp() * 1000 if found.last else None}
    return {**dict(zip(names, key, strict=True)), **{name: getattr(found, name) for name in shown}, **last}
