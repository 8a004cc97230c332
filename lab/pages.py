"""Tables in pages, between `<!-- NAME -->` and `<!-- end -->`: what `make pairs` and `make paper` write. The rest of a
page stays.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.training.metrics import Interval


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


def signed(value: float) -> str:
    return f"{value:+.1f}" if abs(value) >= 0.05 else "0.0"


def points(difference: Interval) -> str:
    """A difference of shares, in points."""
    return f"{signed(100 * difference.mean)} [{100 * difference.low:.1f}, {100 * difference.high:.1f}]"


def share(value: Interval) -> str:
    return f"{value.mean:.0%} [{100 * value.low:.0f}, {100 * value.high:.0f}]"
