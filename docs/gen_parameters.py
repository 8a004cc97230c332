"""The tables of docs/openai-parameters.md, from tandem.openai.parameters: what becomes of each parameter. `make tables`
writes them.
"""

from __future__ import annotations

import json
from pathlib import Path

from tandem.openai.parameters import CHAT, COMPLETIONS, MESSAGES, RESPONSES, Parameter, Table

PAGE = Path(__file__).with_name("openai-parameters.md")
_MARKS = {"chat": CHAT, "completions": COMPLETIONS, "responses": RESPONSES, "messages": MESSAGES}
_KINDS = {"used": "used", "hint": "hint, dropped", "refused": "refused"}


def render(page: str) -> str:
    """The page with its tables written again."""
    for mark, table in _MARKS.items():
        before, _, rest = page.partition(f"<!-- {mark} -->\n")
        page = f"{before}<!-- {mark} -->\n{_rows(table)}<!-- end -->{rest.partition('<!-- end -->')[2]}"
    return page


def _rows(table: Table) -> str:
    kinds = ("used", "refused", "hint")
    ordered = sorted(table.items(), key=lambda item: kinds.index(item[1].kind))
    rows = [f"| `{name}` | {_kind(known)} | {known.about} |" for name, known in ordered]
    return "\n".join(["| parameter | what happens | |", "|---|---|---|", *rows, ""])


def _kind(known: Parameter) -> str:
    asks_nothing = ", ".join(f"`{json.dumps(value)}`" for value in known.nothing)
    ways = [*(["passed on"] if known.is_passed else []), *(["told in other words"] if known.is_told else [])]
    kind = ", else ".join([*ways, _KINDS[known.kind]])
    return kind + (f", except {asks_nothing}" if asks_nothing else "")


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text()))
