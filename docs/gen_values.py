"""The table of the chart's values, from helm/values.yaml and its comments: a part of the site's page of the chart."""

from __future__ import annotations

import re
from pathlib import Path

VALUES = Path(__file__).resolve().parents[1] / "helm" / "values.yaml"


def render() -> str:
    rows = table(VALUES.read_text())
    return "\n".join(["## All values", "", "| value | default | |", "|---|---|---|", *rows]) + "\n"


def table(text: str) -> list[str]:
    """One row for each value that has a comment, in the order of the file."""
    rows, path, comment = [], [""] * 4, ""
    for line in text.splitlines():
        if found := re.match(r"\s*# (?:-- )?(.*)", line):
            comment = f"{comment} {found[1]}".strip() if not line.lstrip().startswith("# --") else found[1]
            continue
        if not (found := re.match(r"( *)([A-Za-z]\w*): ?(.*)", line)):
            comment = ""
            continue
        depth = len(found[1]) // 2
        path[depth] = found[2]
        if comment and "(" not in found[2]:
            rows.append(f"| `{'.'.join(path[: depth + 1])}` | `{found[3].strip() or '…'}` | {comment} |")
        comment = ""
    return rows
