"""Tables in pages, between `<!-- NAME -->` and `<!-- end -->`: what `make pairs` and `make paper` write. The rest of a page stays."""

from __future__ import annotations

from collections.abc import Iterable


def table(head: str, rows: Iterable[str]) -> str:
    """`head` and each row are cells with ` | ` between them."""
    columns = head.count(" | ") + 1
    return "\n".join([f"| {head} |", f"|{'---|' * columns}", *(f"| {row} |" for row in rows)]) + "\n"


def put(page: str, name: str, text: str) -> str:
    """The page with `text` in the place of that name. Raises ValueError for a page without it."""
    begin, end = f"<!-- {name} -->\n", "<!-- end -->"
    head, found, rest = page.partition(begin)
    if not found or end not in rest:
        raise ValueError(f"the page has no {begin.strip()} and {end}")
    return f"{head}{begin}{text}{end}{rest.partition(end)[2]}"


def signed(points: float) -> str:
    return f"{points:+.1f}" if abs(points) >= 0.05 else "0.0"
