"""Tables of the command line: one line a row in a pipe; whole words on a terminal, however narrow it is."""

from __future__ import annotations

from collections.abc import Sequence

from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

from tandem.cli import output
from tandem.cli.output import Screen

_ANY_WIDTH = 10_000
_GAP = 2  # what Rich puts between two columns of a table without a box
_SHORTEST_LINE = 20  # cells in fewer columns than this are not wrapped before a column is left out
_Range = tuple[int, int]  # of a column: its longest word, its longest cell


def print_table(table: Table, optional: Sequence[str] = ()) -> None:
    """Print a table. Where a terminal is too narrow for whole words, `optional` columns are left out, the first one
    first, then rows become lists of their cells.
    """
    console = output.console
    if not console.is_terminal:
        Screen(file=console.file, width=_ANY_WIDTH, soft_wrap=False).print(table)
        return
    ranges, missing = _ranges(table), []
    for header in optional:
        if _fits(ranges, console.width):
            break
        if any(column.header == header for column in table.columns):
            ranges = [each for each, column in zip(ranges, table.columns, strict=True) if column.header != header]
            table = _without(table, header)
            missing.append(header)
    if _fits(ranges, console.width):
        console.print(_wrapped(table, ranges, console.width), soft_wrap=False)
    else:
        _print_lists(table)
    if missing:
        console.print(f"not shown, for want of width: {', '.join(missing)}; a pipe or --json has them", style="dim")


def _fits(ranges: Sequence[_Range], width: int) -> bool:
    return sum(_least(ranges)) <= width


def _least(ranges: Sequence[_Range]) -> list[int]:
    """Return the width of each column that breaks no word and leaves no line of a few letters, with its gap."""
    return [min(most, max(longest_word, _SHORTEST_LINE)) + _GAP for longest_word, most in ranges]


def _ranges(table: Table) -> list[_Range]:
    """Return the range of each column, whatever the others are."""
    console = output.console
    options = console.options.update(width=_ANY_WIDTH)
    found = []
    for column in table.columns:
        measured = [Measurement.get(console, options, cell) for cell in (column.header, *column.cells)]
        most = max(each.maximum for each in measured)
        found.append((most if column.no_wrap else max(each.minimum for each in measured), most))
    return found


def _wrapped(table: Table, ranges: Sequence[_Range], width: int) -> Table:
    """Return the table with widths that break no word: what is free goes to the columns whose cells are longest."""
    widths = _least(ranges)
    most = [cells + _GAP for _, cells in ranges]
    free = width - sum(widths)
    while free > 0 and widths != most:
        neediest = max(range(len(widths)), key=lambda at: most[at] - widths[at])
        widths[neediest] += 1
        free -= 1
    for column, wide in zip(table.columns, widths, strict=True):
        column.width = wide - _GAP
    return table


def _print_lists(table: Table) -> None:
    """Each row as lines of `column  cell`, with an empty line between two rows."""
    headers = [str(column.header) for column in table.columns]
    longest = max(map(len, headers))
    for number, row in enumerate(zip(*(column.cells for column in table.columns), strict=True)):
        if number:
            output.console.print()
        for header, cell in zip(headers, row, strict=True):
            output.console.print(Text(f"{header:{longest}}  ", style="dim"), cell, sep="")


def _without(table: Table, header: str) -> Table:
    kept = [column for column in table.columns if column.header != header]
    smaller = Table(*(Column(column.header, no_wrap=column.no_wrap) for column in kept), box=None)
    for row, *cells in zip(table.rows, *(column.cells for column in kept), strict=True):
        smaller.add_row(*cells, style=row.style)
    return smaller
