"""Tables of the documents that tests write: what a test finds must be what is documented.

A table stands between `<!-- NAME -->` and `<!-- end -->`. `make tables` (TANDEM_TABLES=1) writes it instead of
comparing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from tandem.paths import REPOSITORY

WRITES = "TANDEM_TABLES"
_END = "<!-- end -->"


def documented(page: str, name: str) -> str:
    """What stands there now; `page` is a file of docs/."""
    text, begin = (REPOSITORY / "docs" / page).read_text(), f"<!-- {name} -->\n"
    assert begin in text, f"docs/{page} has no table {begin.strip()}"
    return text.partition(begin)[2].partition(_END)[0]


def cells(page: str, name: str) -> list[list[str]]:
    """The rows of a table that a person writes, without its head."""
    lines = documented(page, name).splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def assert_table(page: str, name: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """The page has this table, row by row."""
    lines = [_line(head), f"|{'---|' * len(head)}", *map(_line, rows)]
    found, written = "".join(f"{line}\n" for line in lines), documented(page, name)
    if found != written and os.environ.get(WRITES):
        file, begin = REPOSITORY / "docs" / page, f"<!-- {name} -->\n"
        file.write_text(file.read_text().replace(f"{begin}{written}{_END}", f"{begin}{found}{_END}"))
        return
    assert found == written, f"docs/{page}: `make tables` writes what the test found"


def rows_by_replies(replies: Iterable[tuple[str, Sequence[str]]]) -> list[list[str]]:
    """A row for all that have the same replies: these, then what has them, in the order in which it comes."""
    found: dict[tuple[str, ...], list[str]] = {}
    for what, got in replies:
        found.setdefault(tuple(got), []).append(what)
    return [[*got, ", ".join(names)] for got, names in found.items()]


def assert_file(file: Path, found: str) -> None:
    """A generated file is up to date."""
    if os.environ.get(WRITES):
        file.write_text(found)
    assert file.exists(), f"{file.name}: `make tables` writes it"
    assert file.read_text() == found, f"{file.name}: `make tables` writes what the test found"


def _line(words: Sequence[str]) -> str:
    return f"| {' | '.join(words)} |"
