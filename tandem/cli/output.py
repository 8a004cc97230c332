"""Output of the command line: a console for people, `--json` for programs."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer
from rich.console import Console

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]

console = Console(highlight=False)
_errors = Console(stderr=True, highlight=False)


def console_error(message: str) -> None:
    _errors.print(f"[bold red]error:[/] {_escaped(message)}", soft_wrap=True)


def console_note(message: str) -> None:
    _errors.print(f"[yellow]note:[/] {_escaped(message)}", soft_wrap=True)


def print_json(value: Any) -> None:
    is_unicode = sys.stdout.encoding.lower().startswith("utf")
    typer.echo(json.dumps(value, indent=2, ensure_ascii=not is_unicode))


def _escaped(text: str) -> str:
    return text.replace("[", "\\[")
