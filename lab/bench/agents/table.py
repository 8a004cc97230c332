"""The table of coding agents in docs/results.md, from the file of results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lab.bench.common import Figures
from tandem.paths import REPOSITORY

PAGE = REPOSITORY / "docs" / "results.md"
BEGIN, END = "<!-- made by `make agents` -->", "<!-- until here -->"
_HEAD = ("agent, protocol", "prompt cached: direct, Tandem", "USD: direct, Tandem", "added ms", "dropped, or worse")


def table(whole: Figures) -> str:
    """As Markdown. Milliseconds are of a busy machine where the run was on one."""
    rows = [_row(name, found) for name, found in whole["rows"].items()]
    lines = [_line(_HEAD), _line(["---"] * len(_HEAD)), *map(_line, rows)]
    return "\n".join(lines)


def write_page(whole: Figures, page: Path = PAGE) -> None:
    """Puts the table between its marks. Raises ValueError where the page has none."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"{page} has no place for the table: {BEGIN} ... {END}")
    versions = ", ".join(f"{name} {version}" for name, version in whole["versions"].items())
    about = f"{versions}; n = {whole['n']} each, {whole['at'][:10]}."
    page.write_text(f"{before}{BEGIN}\n{table(whole)}\n\n{about}\n{END}{after}")


def _row(name: str, found: Figures) -> list[str]:
    agent, protocol = name.split("/")
    direct, tandem = found["direct"], found["tandem"]
    ends = "" if tandem["finished"] else "does not finish" if direct["finished"] else "finishes neither way"
    shares = f"{100 * direct['cached_share']:.0f} %, {100 * tandem['cached_share']:.0f} %"
    usd = f"{direct['usd']:.4f}, {tandem['usd']:.4f}"
    added = "" if found["added_ms"] is None else f"{found['added_ms']:.0f}"
    lost = [f"`{name}`" for name in (*found["dropped"], *tandem["faults"])]
    refused = [f"refused: `{name}`" for name in tandem["refused"]]
    return [f"{agent}, {protocol}", shares, usd, added, ", ".join([*filter(None, [ends]), *lost, *refused])]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
