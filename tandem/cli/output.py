"""Output of the command line: a console for people, `--json` for programs.

What models and callers wrote must not drive a terminal: an escape sequence in an answer could set its title or its
clipboard, and a bidirectional override could show code in another order than it runs. So everything goes through
`console` or `print_json`, and a terminal gets such characters in a visible form. A pipe gets every text as it is.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from typing import Annotated, Any

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.status import Status
from rich.style import StyleType
from rich.text import Text

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]

# C0 but tab and line feed, DEL, C1, and the characters that change the order in which others are shown.
_DRIVES_A_TERMINAL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """Return the text with each character that could drive a terminal as Python writes it: \\x1b."""
    return _DRIVES_A_TERMINAL.sub(lambda found: repr(found[0])[1:-1], text)


class Screen(Console):
    """A console where no text is markup. On a terminal it shows characters that would drive one."""

    def __init__(self, **options: Any) -> None:
        # Lines are not wrapped: a terminal does it, and a program that reads a pipe needs whole ones.
        super().__init__(**{"highlight": False, "soft_wrap": True, "markup": False, "emoji": False, **options})

    @property
    def is_seen(self) -> bool:
        """Tell whether a terminal shows the output, also one that the environment calls none (TTY_COMPATIBLE=0)."""
        return self.is_terminal or self.file.isatty()

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """All that is printed passes here, before Rich adds sequences of its own."""
        for segment in super().render(renderable, options):
            is_ours = segment.control or not self.is_seen
            yield segment if is_ours else Segment(visible(segment.text), segment.style)

    def write(self, text: str, style: StyleType = "", end: str = "\n") -> None:
        """A text of a model. Rich would leave some control characters out."""
        if self.is_seen:
            self.print(Text(visible(text), style), end=end)
        else:
            self.file.write(text + end)
            self.file.flush()


console = Screen()
_errors = Screen(stderr=True)


def console_error(message: str) -> None:
    _errors.print(Text.assemble(("error:", "bold red"), " ", message))


def console_note(message: str) -> None:
    _errors.print(Text.assemble(("note:", "yellow"), " ", message))


def progress(text: str) -> Status | None:
    """What happens, on standard error until it is stopped; None where that is no terminal."""
    return _errors.status(Text(text)) if _errors.is_terminal else None


def dollars(amount: float | None, digits: int = 8) -> str:
    """None: a price is not known."""
    return "unknown price" if amount is None else f"${amount:.{digits}f}"


def print_json(value: Any) -> None:
    """The same value everywhere: JSON has an escape for each character that could drive a terminal."""
    is_unicode = sys.stdout is not None and sys.stdout.encoding.lower().startswith("utf")
    text = json.dumps(value, indent=2, ensure_ascii=not is_unicode)
    typer.echo(_DRIVES_A_TERMINAL.sub(lambda found: f"\\u{ord(found[0]):04x}", text))
