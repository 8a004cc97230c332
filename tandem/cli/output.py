"""Output of the command line: a console for people, `--json` for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Column, Table

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]

# Lines are not wrapped: a terminal does it, and a program that reads a pipe needs whole ones.
console = Console(highlight=False, soft_wrap=True)
_errors = Console(stderr=True, highlight=False, soft_wrap=True)
_ANY_WIDTH = 10_000


def console_error(message: str) -> None:
    _errors.print(f"[bold red]error:[/] {_escaped(message)}")


def console_note(message: str) -> None:
    _errors.print(f"[yellow]note:[/] {_escaped(message)}")


def print_table(table: Table, optional: Sequence[str] = ()) -> None:
    """In a pipe each row is one line. Where a terminal is too narrow, `optional` columns are left out, the first one first."""
    if not console.is_terminal:
        Console(file=console.file, width=_ANY_WIDTH, highlight=False).print(table)
        return
    missing = []
    for header in optional:
        if _width(table) <= console.width:
            break
        if any(column.header == header for column in table.columns):
            table = _without(table, header)
            missing.append(header)
    console.print(table, soft_wrap=False)
    if missing:
        console.print(f"not shown, for want of width: {', '.join(missing)}; a pipe or --json has them", style="dim")


def _width(table: Table) -> int:
    return Measurement.get(console, console.options.update(width=_ANY_WIDTH), table).maximum


def _without(table: Table, header: str) -> Table:
    kept = [column for column in table.columns if column.header != header]
    smaller = Table(*(Column(column.header, no_wrap=column.no_wrap) for column in kept), box=None)
    for row, *cells in zip(table.rows, *(column.cells for column in kept), strict=True):
        smaller.add_row(*cells, style=row.style)
    return smaller


def print_json(value: Any) -> None:
    is_unicode = sys.stdout.encoding.lower().startswith("utf")
    typer.echo(json.dumps(value, indent=2, ensure_ascii=not is_unicode))


def _escaped(text: str) -> str:
    return text.replace("[", "\\[")
