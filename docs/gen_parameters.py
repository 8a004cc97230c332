"""The tables of docs/openai-parameters.md, from tandem.openai.parameters: what becomes of each parameter. `make tables`
writes them.
"""

from __future__ import annotations

import json
from pathlib import Path

from tandem.openai.allowed import allows
from tandem.openai.parameters import CHAT, MESSAGES, RESPONSES, Parameter, Table

PAGE = Path(__file__).with_name("openai-parameters.md")
_MARKS = {"chat": CHAT, "responses": RESPONSES, "messages": MESSAGES}
_PROTOCOLS = {"chat": "openai", "responses": "responses", "messages": "anthropic"}
_KINDS = {"used": "used", "hint": "hint, dropped", "refused": "refused"}


def render(page: str) -> str:
    """The page with its tables written again."""
    for mark, table in _MARKS.items():
        before, _, rest = page.partition(f"<!-- {mark} -->\n")
        rows, after = _rows(table, _PROTOCOLS[mark]), rest.partition("<!-- end -->")[2]
        page = f"{before}<!-- {mark} -->\n{rows}<!-- end -->{after}"
    return page


def _rows(table: Table, protocol: str) -> str:
    kinds = ("used", "refused", "hint")
    ordered = sorted(table.items(), key=lambda item: kinds.index(item[1].kind))
    rows = [f"| `{name}` | {_kind(known, allows(protocol, name))} | {known.about} |" for name, known in ordered]
    return "\n".join(["| parameter | what happens | |", "|---|---|---|", *rows, ""])


def _kind(known: Parameter, is_allowed: bool) -> str:
    asks_nothing = ", ".join(f"`{json.dumps(value)}`" for value in known.nothing)
    is_passed = known.unless_passed if known.kind == "refused" else known.kind == "hint" and is_allowed
    ways = [*(["passed on"] if is_passed else []), *(["told in other words"] if known.is_told else [])]
    kind = ", else ".join([*ways, _KINDS[known.kind]])
    return kind + (f", except {asks_nothing}" if asks_nothing else "")


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text()))
