"""Files to which a long run appends line by line, so that it can be cut and go on."""

from __future__ import annotations

from pathlib import Path


def whole_lines(path: Path) -> list[str]:
    """None where there is no file. A line that a kill cut is taken off the file."""
    if not path.exists():
        return []
    whole, _, cut = path.read_text().rpartition("\n")
    if cut:
        path.write_text(whole + "\n" if whole else "")
    return whole.splitlines()
