"""Progress of downloads: bars in a terminal, lines in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tandem.cli.output import console

Report = Callable[[str, int, int], None]
"""(step, done, total), as tandem.local.hub."""
_LINE_SECONDS = 10.0


@contextmanager
def reporting(*, quiet: bool) -> Iterator[Callable[[str], Report]]:
    """A function from a model's name to its report; a report of the step "ready" is the last one."""
    if quiet:
        yield lambda name: lambda *_: None
    elif not console.is_terminal:
        yield _lines
    else:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[amount]}"))
        with Progress(*columns, TimeElapsedColumn(), console=console) as display:
            yield lambda name: _bar(display, name)


def _bar(display: Progress, name: str) -> Report:
    task = display.add_task(name, total=None, amount="")

    def report(step: str, done: int, total: int) -> None:
        amount = _amount(done, total)
        display.update(task, description=f"{name}: {step}", completed=done, total=total, amount=amount)

    return report


def _lines(name: str) -> Report:
    """A line for each step, and one every ten seconds within it."""
    last_step, last_time = "", 0.0

    def report(step: str, done: int, total: int) -> None:
        nonlocal last_step, last_time
        now = time.monotonic()
        if step == last_step and now - last_time < _LINE_SECONDS and done < total:
            return
        if step == last_step and done == total and total <= 1:
            return
        last_step, last_time = step, now
        console.print(f"{name}: {step} {_amount(done, total)}".rstrip())

    return report


def _amount(done: int, total: int) -> str:
    return f"{done / 1e6:,.0f} / {total / 1e6:,.0f} MB" if total > 1_000_000 else ""
